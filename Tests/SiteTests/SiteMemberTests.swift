import Foundation
import Index
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Site

/// Members of a site write records and tables, and see those of each other.
@Suite("Members of a site", .timeLimit(.minutes(5)))
struct SiteMemberTests {
    private final class Reader: NeighbourReader {
        let expectedWait: Duration? = .zero

        func read(
            _ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, isUrgent: Bool
        ) -> Bool { false }
        func willRead(_ table: [UInt8], _ range: Range<UInt64>, isUrgent: Bool) {}
        func wasStale(_ table: [UInt8], at offset: UInt64) {}
    }

    private let scratch = Scratch()

    private func member(_ host: String) throws -> SiteMember {
        try FileManager.default.createDirectory(atPath: scratch.file("site"), withIntermediateDirectories: true)
        let identity = SiteMember.Identity(host: host, address: "10.0.0.1:7000", certificate: { nil }, release: "1")
        return try SiteMember(
            store: SiteStore(path: scratch.file("site")), identity: identity, index: scratch.file("index-\(host)"),
            scratch: scratch.file("scratch-\(host)")
        ) { _ in Reader() }
    }

    private func add(_ name: String, to host: String) throws {
        var random = Seeded.fresh()
        let image = try scratch.write(random.bytes(1 << 20), to: name)
        _ = try IndexStore(directory: scratch.file("index-\(host)")).add(image, options: BuildOptions(threads: 1))
    }

    private func names(_ member: SiteMember) -> [String] {
        (member.view.tables?.neighbours ?? []).map {
            "\($0.host ?? "-") \(URL(fileURLWithPath: $0.name).lastPathComponent)"
        }
    }

    @Test("Tables are published -> other hosts see them; removed -> they are gone")
    func published() throws {
        let (a, b) = (try member("a"), try member("b"))
        try add("x.raw", to: "a")
        #expect(a.turn().published == 1)
        #expect(a.turn().published == 0)
        #expect(b.turn().problems == [])
        #expect(names(b) == ["a x.raw"])
        #expect(b.view.tables?.uncovered == 0)
        #expect(names(a) == [])
        try IndexStore(directory: scratch.file("index-a")).remove(scratch.file("x.raw"))
        #expect(a.turn().published == 1)
        _ = b.turn()
        #expect(names(b) == [])
    }

    @Test("An image is indexed again -> its new table replaces the old one, with new samples")
    func replaced() throws {
        let (a, b) = (try member("a"), try member("b"))
        try add("x.raw", to: "a")
        _ = a.turn()
        try add("x.raw", to: "a")
        #expect(a.turn().published == 1)
        _ = b.turn()
        #expect(names(b) == ["a x.raw"] && b.view.tables?.uncovered == 0)
    }

    @Test("Many small catalogues -> one host merges them, and the samples of all tables stay")
    func merged() throws {
        let hosts = try (0..<6).map { try member("h\($0)") }
        for (number, host) in hosts.enumerated() {
            try add("x\(number).raw", to: "h\(number)")
            _ = host.turn()
        }
        let turns = hosts.map { $0.turn() }
        #expect(turns.count { $0.merges } == 1)
        let report = try SiteReport(of: SiteStore(path: scratch.file("site")), check: .everything)
        #expect(report.problems == [] && report.unlisted == 0)
        #expect(report.catalogues < 6, "\(report.catalogues)")
        #expect(report.hosts.count == 6 && report.hosts.allSatisfy { $0.isAlive && $0.images.count == 1 })
    }

    @Test("Two nodes with one name -> the one that came first stops taking part, with a message")
    func twoOfOneName() throws {
        let first = try member("a")
        _ = first.turn()
        let second = try member("a")
        #expect(second.turn().problems == [])
        #expect(first.turn().problems.contains { $0.contains("another node takes part in the site as 'a'") })
        #expect(second.turn().problems == [])
    }

    @Test("A damaged record, table or catalogue of another host -> a line, and the others are used")
    func damaged() throws {
        let (a, b, c) = (try member("a"), try member("b"), try member("c"))
        try add("x.raw", to: "a")
        try add("y.raw", to: "c")
        _ = a.turn()
        _ = c.turn()
        try Data("{".utf8).write(to: URL(fileURLWithPath: scratch.file("site/hosts/a/host.json")))
        let turn = b.turn()
        #expect(turn.problems.count == 1 && turn.problems[0].contains("host.json is damaged"))
        #expect(names(b) == ["c y.raw"])
        let table = try #require(
            try FileManager.default.contentsOfDirectory(atPath: scratch.file("site/hosts/c"))
                .first { $0.hasSuffix("table") })
        try Data("nonsense".utf8).write(to: URL(fileURLWithPath: scratch.file("site/hosts/c/\(table)")))
        #expect(b.turn().problems.contains { $0.contains(table) })
        #expect(names(b) == [])
        // Its own host notices, and publishes it again.
        #expect(c.turn().published == 1)
        _ = b.turn()
        #expect(names(b) == ["c y.raw"])
    }

    @Test("A store of another block size, of a later release, or not there -> a line, until that is mended")
    func foreignStores() throws {
        _ = try IndexStore(directory: scratch.file("index-b"), blockSize: 512)
        let a = try member("a")
        #expect(a.turn().problems == [])
        let other = SiteError.otherBlockSize(store: scratch.file("site"), has: 4096, wanted: 512)
        #expect(try member("b").turn().problems == ["\(other)"])
        let settings = scratch.file("site/site.json")
        try Data(#"{"version":2,"blockSize":4096}"#.utf8).write(to: URL(fileURLWithPath: settings))
        let later = try member("c")
        #expect(later.turn().problems == ["\(SiteError.laterVersion(file: settings, version: 2))"])
        try FileManager.default.moveItem(atPath: scratch.file("site"), toPath: scratch.file("away"))
        #expect(later.turn().problems.contains { $0.contains("cannot open") })
        #expect(!FileManager.default.fileExists(atPath: scratch.file("site")))
        try FileManager.default.moveItem(atPath: scratch.file("away"), toPath: scratch.file("site"))
        try Data(#"{"version":1,"blockSize":4096}"#.utf8).write(to: URL(fileURLWithPath: settings))
        #expect(later.turn().problems == [])
    }

    @Test("Pipes, links and files in the place of others -> a line, and never a wait or a write elsewhere")
    func hostileFiles() throws {
        let (a, b) = (try member("a"), try member("b"))
        try add("x.raw", to: "a")
        #expect(a.turn().problems == [] && b.turn().problems == [])
        let record = scratch.file("site/hosts/a/host.json")
        try FileManager.default.removeItem(atPath: record)
        #expect(mkfifo(record, 0o600) == 0)
        #expect(b.turn().problems.contains { $0.contains("host.json is damaged") })
        try FileManager.default.removeItem(atPath: scratch.file("site/hosts/b"))
        let elsewhere = scratch.file("elsewhere")
        try FileManager.default.createDirectory(atPath: elsewhere, withIntermediateDirectories: true)
        let kept = "\(elsewhere)/\(String(repeating: "0", count: 32)).table"
        try Data().write(to: URL(fileURLWithPath: kept))
        try FileManager.default.createSymbolicLink(
            atPath: scratch.file("site/hosts/b"), withDestinationPath: elsewhere)
        #expect(b.turn().problems.contains { $0.contains("is no folder") })
        #expect(try FileManager.default.contentsOfDirectory(atPath: elsewhere).count == 1)
    }

    @Test("Tables of another host that can't be read here -> its catalogues stay")
    func unreadable() throws {
        let (a, b) = (try member("a"), try member("b"))
        try add("x.raw", to: "a")
        _ = b.turn()
        _ = a.turn()
        let samples = try FileManager.default.contentsOfDirectory(atPath: scratch.file("site/samples"))
        #expect(samples.count == 1)
        let folder = scratch.file("site/hosts/a")
        let table = try #require(
            try FileManager.default.contentsOfDirectory(atPath: folder).first { $0.hasSuffix("table") })
        let whole = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(table)"))
        // As a table of a later release looks here.
        var later = whole
        later[8] = 9
        try later.write(to: URL(fileURLWithPath: "\(folder)/\(table)"))
        let turn = b.turn()
        #expect(turn.merges && !turn.problems.isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.file("site/samples")) == samples)
    }

    @Test("The certificate changes -> the record has the new one and the one before")
    func certificates() throws {
        try FileManager.default.createDirectory(atPath: scratch.file("site"), withIntermediateDirectories: true)
        let current = NIOLockedValueBox("old")
        let identity = SiteMember.Identity(
            host: "a", address: "h:1", certificate: { current.withLockedValue { $0 } }, release: "1")
        let store = SiteStore(path: scratch.file("site"))
        let a = try SiteMember(
            store: store, identity: identity, index: scratch.file("index"), scratch: scratch.file("scratch")
        ) { _ in nil }
        _ = a.turn()
        #expect(try store.record(of: "a")?.certificates == ["old"])
        current.withLockedValue { $0 = "new" }
        _ = a.turn()
        #expect(try store.record(of: "a")?.certificates == ["new", "old"])
    }
}

extension SiteMember {
    /// All that a member does in turns.
    fileprivate func turn() -> Turn {
        var turn = renew()
        guard turn.problems.allSatisfy({ !$0.contains("another node takes part") }) else { return turn }
        let work = work()
        turn.published = work.published
        turn.problems += work.problems
        return turn
    }
}
