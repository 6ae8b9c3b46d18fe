import Foundation
import Index
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Site

/// Hosts of a site mend damaged tables, and remove leftovers and hosts that are gone.
@Suite("Upkeep of a site", .timeLimit(.minutes(5)))
struct SiteUpkeepTests {
    private let scratch = Scratch()
    private var store: SiteStore { SiteStore(path: scratch.file("site")) }

    private func member(_ host: String, in store: SiteStore? = nil) throws -> SiteMember {
        try FileManager.default.createDirectory(atPath: scratch.file("site"), withIntermediateDirectories: true)
        let identity = SiteMember.Identity(host: host, address: "10.0.0.1:7000", certificate: { nil }, release: "1")
        return try SiteMember(
            store: store ?? self.store, identity: identity, index: scratch.file("index-\(host)"),
            scratch: scratch.file("scratch-\(host)")
        ) { _ in nil }
    }

    private func turn(_ member: SiteMember) -> SiteMember.Turn {
        var turn = member.renew()
        let work = member.work()
        (turn.published, turn.mended, turn.removed) = (work.published, work.mended, work.removed)
        turn.problems += work.problems
        return turn
    }

    private func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: scratch.file("site/\(name)")) }

    @Test("Bytes in the middle of a published table change -> its host finds that, names it, and publishes it again")
    func damagedTable() throws {
        let a = try member("a")
        var random = Seeded.fresh()
        for name in ["x", "y"] {
            let image = try scratch.write(random.bytes(1 << 20), to: "\(name).raw")
            _ = try IndexStore(directory: scratch.file("index-a")).add(image, options: BuildOptions(threads: 1))
        }
        #expect(turn(a).published == 2)
        let folder = scratch.file("site/hosts/a")
        let tables = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".table") }
        let table = try #require(tables.randomElement(using: &random))
        let whole = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(table)"))
        let file = try #require(FileHandle(forUpdatingAtPath: "\(folder)/\(table)"))
        let place = Int.random(in: 300..<whole.count, using: &random)
        try file.seek(toOffset: UInt64(place))
        file.write(Data([~whole[place]]))
        try file.close()
        // Each turn begins where the last one ended.
        let turns = (0..<2).map { _ in turn(a) }
        #expect(turns.flatMap(\.mended) == [table] && turns.allSatisfy { $0.published == 0 }, "\(turns)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(table)")) == whole)
        #expect(turn(a).mended == [])
    }

    @Test("A temporary file that stays the same for long -> left over; one that grows is not")
    func leftovers() {
        var leftovers = Leftovers()
        let start = ContinuousClock.now
        #expect(leftovers.look(at: ["a": 1, "b": 1], now: start) == [])
        #expect(leftovers.look(at: ["a": 1, "b": 2], now: start + .seconds(599)) == [])
        #expect(leftovers.look(at: ["a": 1, "b": 3], now: start + .seconds(600)) == ["a"])
        #expect(leftovers.look(at: ["b": 3], now: start + .seconds(601)) == [])
        #expect(leftovers.look(at: ["a": 1], now: start + .seconds(700)) == [])
    }

    @Test("Hosts that are gone -> the time counts for which somebody has watched; a new beat begins anew")
    func absences() {
        func record(_ beat: UInt64) -> HostRecord {
            HostRecord(host: "b", address: "h:1", instance: 1, beat: beat, certificates: [], release: "1")
        }
        var ledger = AbsenceLedger()
        ledger.look(gone: ["a": nil, "b": record(1)], after: 10)
        for _ in 0..<10 { ledger.look(gone: ["a": nil, "b": record(1)], after: 10) }
        #expect(ledger.gone(for: 100) == ["a", "b"] && ledger.gone(for: 101) == [])
        ledger.look(gone: ["a": nil, "b": record(2)], after: 10)
        #expect(ledger.gone(for: 1) == ["a"])
        // A process that stood still has not watched.
        ledger.look(gone: ["b": record(2)], after: 1e9)
        #expect(ledger.gone(for: 61) == [] && ledger.gone(for: 60) == ["b"])
    }

    @Test(
        "A host that comes while the merging one publishes for long -> not gone, whether seen yet or not",
        arguments: [true, false])
    func newcomer(isSeen: Bool) throws {
        let (members, gone) = (NIOLockedValueBox<[SiteMember]>([]), NIOLockedValueBox<[Bool]>([]))
        let files = WatchedFiles(base: store.files) { _ in
            // Renewals go on beside the work.
            for member in members.withLockedValue({ isSeen ? $0.reversed() : $0 }) { _ = member.renew() }
        } willRemove: { folder, isGone in
            if folder == SiteStore.samplesFolder { gone.withLockedValue { $0.append(isGone("b")) } }
        }
        let (a, b) = (try member("a", in: SiteStore(files: files)), try member("b"))
        var random = Seeded.fresh()
        let image = try scratch.write(random.bytes(1 << 20), to: "x.raw")
        _ = try IndexStore(directory: scratch.file("index-a")).add(image, options: BuildOptions(threads: 1))
        #expect(a.renew().merges)
        members.withLockedValue { $0 = [a, b] }
        #expect(a.work().problems == [])
        #expect(gone.withLockedValue { $0 } == [false])
    }

    @Test("Old times of files -> nothing is removed; a host that was watched for a week is")
    func grace() throws {
        let a = try member("a")
        #expect(turn(a).merges)
        for host in ["old", "watched"] {
            let folder = scratch.file("site/hosts/\(host)")
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: host == "old" ? -3e7 : 3e7)], ofItemAtPath: folder)
        }
        try Data(#"{"hosts":{"watched":{"beat":0,"instance":0,"seconds":604801}}}"#.utf8)
            .write(to: URL(fileURLWithPath: store.files.path(of: SiteStore.absencesRecord)))
        // The next merger goes on where the last one has ended.
        a.leave()
        let b = try member("b")
        #expect(turn(b).removed == ["watched"])
        #expect(exists("hosts/old") && !exists("hosts/watched"))
        #expect(turn(b).removed == [])
    }

    @Test("`remove` of a host -> refused while its beat changes, whatever the times of its files say")
    func remove() throws {
        let a = try member("a")
        _ = turn(a)
        func touch(_ seconds: TimeInterval) throws {
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: seconds)],
                ofItemAtPath: scratch.file("site/hosts/a/host.json"))
        }
        // A clock that is behind by an hour.
        try touch(-3600)
        let beating = Thread {
            while !Thread.current.isCancelled {
                Thread.sleep(forTimeInterval: 0.1)
                _ = a.renew()
            }
        }
        beating.start()
        #expect(throws: SiteError.isAlive("a")) { try store.remove("a", watching: .seconds(60)) }
        beating.cancel()
        while !beating.isFinished { Thread.sleep(forTimeInterval: 0.01) }
        // A clock that is ahead: the host is gone, and looks alive.
        try touch(3600)
        try store.remove("a", watching: .milliseconds(1))
        #expect(!exists("hosts/a"))
    }

    @Test("A look at the site -> it in numbers")
    func figures() throws {
        let (a, b) = (try member("a"), try member("b"))
        var random = Seeded.fresh()
        let image = try scratch.write(random.bytes(1 << 20), to: "x.raw")
        _ = try IndexStore(directory: scratch.file("index-a")).add(image, options: BuildOptions(threads: 1))
        #expect(a.view.figures == nil)
        _ = turn(a)
        _ = turn(b)
        _ = turn(a)
        let figures = try #require(a.view.figures)
        #expect(figures.alive == 2 && figures.gone == 0 && figures.tables == 1 && figures.tableBytes > 0)
        #expect(figures.samples > 0 && figures.sampleBytes > 0)
        #expect(b.view.figures?.tables == 0 && b.view.figures?.alive == 2)
    }
}
