import Foundation
import Index
import TestSupport
import Testing

@testable import Site

/// What members of a site write, and what they see of each other.
@Suite("Members of a site", .timeLimit(.minutes(5)))
struct SiteMemberTests {
    private final class Reader: NeighbourReader {
        func read(_ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool { false }
        func willRead(_ table: [UInt8], _ range: Range<UInt64>) {}
        func wasStale(_ table: [UInt8], at offset: UInt64) {}
    }

    private let scratch = Scratch()

    private func member(_ host: String) throws -> SiteMember {
        try FileManager.default.createDirectory(atPath: scratch.file("site"), withIntermediateDirectories: true)
        let identity = SiteMember.Identity(host: host, address: "10.0.0.1:7000", certificate: nil, release: "1")
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

    @Test("A store of another block size, or of a later release -> refused in words")
    func foreignStores() throws {
        _ = try IndexStore(directory: scratch.file("index-b"), blockSize: 512)
        _ = try member("a")
        #expect(throws: SiteError.otherBlockSize(store: scratch.file("site"), has: 4096, wanted: 512)) {
            try member("b")
        }
        let settings = scratch.file("site/site.json")
        try Data(#"{"version":2,"blockSize":4096}"#.utf8).write(to: URL(fileURLWithPath: settings))
        #expect(throws: SiteError.laterVersion(file: settings, version: 2)) { try member("a") }
    }
}
