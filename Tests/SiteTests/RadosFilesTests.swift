import Foundation
import Hashing
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Index
@testable import Rados
@testable import Site

/// Behaviour that only a RADOS store has. Runs with the cluster of `nbd-scripts/test ceph`.
@Suite("A site in RADOS", .enabled(if: StoreKind.configuration != nil), .timeLimit(.minutes(5)))
struct RadosFilesTests {
    private let scratch = Scratch()
    private let pool = StoreKind.pool()
    private var files: RadosFiles { RadosFiles(pool: pool) }

    /// The objects with bytes of files.
    private func pieces() async throws -> [String] {
        let listed = try await Command.run(
            "rados", "-c", StoreKind.configuration ?? "", "-p", pool.place.pool, "-N", pool.place.namespace, "ls")
        return listed.output.split(separator: "\n").map(String.init).filter { $0.hasPrefix("data/") }
    }

    @Test("A lease that runs out while its holder stands still -> its change is refused, and leaves nothing")
    func fencing() async throws {
        try files.makeFolder("samples")
        let (a, b) = (RadosLease(host: "a", in: pool), RadosLease(host: "b", in: pool))
        #expect(try a.hold(now: .now))
        let before = try #require(a.fence)
        // The lock is gone, as after a minute, while `a` believes to have it.
        try pool.unlock("samples", name: "merge", cookie: try token(of: before))
        #expect(try b.hold(now: .now))
        let source = try scratch.write([1, 2, 3], to: "f")
        #expect(throws: SiteError.lostLease(store: files.name)) {
            try files.change("samples", SiteFolderChange(host: "a", file: (source, "x.catalogue"), lease: a)) { true }
        }
        #expect(try files.names(in: "samples").isEmpty)
        #expect(try await pieces().isEmpty)
        // Nor can it write its number over that of the later holder.
        #expect(try !a.raise(from: "0") && !a.isHeld && b.isHeld)
    }

    private func token(of fence: String) throws -> String { String(try #require(fence.split(separator: " ").last)) }

    @Test("A writer that was killed at any moment -> its next turn removes what it has left, and nothing of others")
    func leftovers() async throws {
        try files.makeFolder("samples")
        var random = Seeded.fresh()
        let source = try scratch.write(random.bytes(5 << 20), to: "f")
        try files.change("samples", SiteFolderChange(host: "b", file: (source, "x.catalogue"))) { true }
        let kept = try await pieces()
        #expect(kept.count == 2)
        let head = RadosHead(size: 9 << 20, host: "a")
        try pool.change("samples", [.set(key: "~\(head.id)", value: try head.withAllPieces().encoded())])
        try [1].withUnsafeBytes { try pool.write(head.object(1), $0) }
        try files.removeLeftovers(in: "samples", isOf: { $0 == "b" }) { true }
        #expect(try await pieces().count == 3)
        try files.removeLeftovers(in: "samples", isOf: { $0 == "a" }) { true }
        #expect(try await pieces().sorted() == kept.sorted())
        #expect(try pool.entries("samples")?.map(\.key) == ["x.catalogue"])
    }

    @Test("Two members -> each finds the other's image; a damaged piece is a line, and is published again")
    func members() async throws {
        let store = SiteStore(files: files)
        func member(_ host: String) throws -> SiteMember {
            let identity = SiteMember.Identity(host: host, address: "h:1", certificate: { nil }, release: "1")
            return try SiteMember(
                store: store, identity: identity, index: scratch.file("index-\(host)"),
                scratch: scratch.file("scratch-\(host)")
            ) { _ in nil }
        }
        func turn(_ member: SiteMember) -> [String] { member.renew().problems + member.work().problems }
        let (a, b) = (try member("a"), try member("b"))
        var random = Seeded.fresh()
        let bytes = random.bytes(8 << 20)
        let image = try scratch.write(bytes, to: "x.raw")
        _ = try IndexStore(directory: scratch.file("index-a")).add(image, options: BuildOptions(threads: 1))
        #expect(turn(a) == [] && turn(b) == [] && turn(a) == [] && turn(b) == [])
        let tables = try #require(b.view.tables)
        #expect(tables.neighbours.map(\.host) == ["a"] && tables.uncovered == 0 && tables.catalogues == 1)
        let hasher = BlockHasher()
        let wanted = bytes.withUnsafeBytes { bytes in
            (0..<2048).map { hasher.fingerprint(.init(rebasing: bytes[$0 * 4096..<($0 + 1) * 4096])) }
        }
        func found() throws -> Int {
            let tables = try #require(b.view.tables)
            return try NeighbourIndex.open(directory: scratch.file("index-b")).joined(with: tables).lookUp(wanted)
                .count { $0 != nil }
        }
        #expect(try found() == 2048)
        #expect(try SiteReport(of: store, check: .everything).problems == [])
        // The first piece of the table is cut short.
        let table = try #require(try pool.entries("hosts/a")?.first { $0.key.hasSuffix("table") })
        let head = try #require(RadosHead(table.value))
        try [1, 2, 3].withUnsafeBytes { try pool.write(head.object(0), $0) }
        #expect(try SiteReport(of: store, check: .everything).problems.count == 1)
        #expect(turn(a) == [])
        #expect(turn(b) == [] && turn(b) == [])
        #expect(try found() == 2048)
        #expect(try SiteReport(of: store, check: .everything).problems == [])
        try pool.remove(head.object(0))
        // Bytes in the middle of the new table, of which nobody reads the head again.
        let new = try #require(try self.head("hosts/a", "table"))
        var stored = try #require(try pool.contents(new.object(0), atMost: 1 << 20))
        stored[stored.count / 2] = ~stored[stored.count / 2]
        try stored.withUnsafeBytes { try pool.write(new.object(0), $0) }
        #expect(a.work().mended.count == 1)
        // The catalogue, which both hosts have open and have read.
        let lost = try #require(try self.head("samples", "catalogue"))
        try [1, 2, 3].withUnsafeBytes { try pool.write(lost.object(0), $0) }
        let (first, second) = (turn(a), turn(b))
        #expect(first.contains { $0.contains("samples/") && $0.contains("wrong length") }, "\(first)")
        #expect(try self.head("samples", "catalogue")?.id != lost.id, "\(first) \(second)")
        #expect(turn(a) == [] && turn(b) == [])
        #expect(try found() == 2048)
        #expect(try SiteReport(of: store, check: .everything).problems == [])
    }

    /// The head of a folder's only file of a kind.
    private func head(_ folder: String, _ suffix: String) throws -> RadosHead? {
        try pool.entries(folder)?.first { $0.key.hasSuffix(suffix) }.flatMap { RadosHead($0.value) }
    }

    @Test("A catalogue of many pieces loses one that nobody reads -> found within as many looks; it stays damaged")
    func lostPiece() throws {
        try files.makeFolder("samples")
        var random = Seeded.fresh()
        let source = try scratch.write(random.bytes(3 * RadosFiles.pieceSize - 7), to: "f")
        try files.change("samples", SiteFolderChange(host: "a", file: (source, "x.catalogue"))) { true }
        let stored = try #require(try files.folder("samples").entries().first?.stored)
        for _ in 0..<4 { stored.checkNext() }
        #expect(!stored.isDamaged)
        try pool.remove(try #require(try head("samples", "catalogue")).object(2))
        for _ in 0..<4 { stored.checkNext() }
        #expect(stored.isDamaged)
    }

    @Test("Keys that make no sense -> left out, and cost nothing")
    func hostileKeys() throws {
        try files.makeFolder("hosts")
        try files.makeFolder("hosts/a")
        for (key, value) in [
            ("x.table", "{"), ("y.table", #"{"size":18446744073709551615,"id":"0","host":"a","pieces":[[0,1]]}"#),
            ("z.table", #"{"size":4096,"id":"0123456789abcdef0123456789abcdef","host":"a","pieces":[[0,9]]}"#),
        ] { try pool.change("hosts/a", [.set(key: key, value: Data(value.utf8))]) }
        #expect(try files.folder("hosts/a").entries().isEmpty)
    }

    @Test("Many large entries -> a listing has a limit; the folder is removed with all its pieces")
    func largeListing() async throws {
        try files.makeFolder("hosts")
        try files.makeFolder("hosts/a")
        let padding = Data(count: 1 << 20)
        for number in 0..<40 { try pool.change("hosts/a", [.set(key: "k\(100 + number)", value: padding)]) }
        let cut = try #require(try pool.listing("hosts/a", RadosListing.Limits(bytes: 4 << 20)))
        #expect(cut.entries.count == 4 && !cut.isWhole)
        // A value that is longer than any of this program's is not taken into memory twice.
        try pool.change("hosts/a", [.set(key: "a", value: Data(count: RadosPool.longestValue + 1))])
        let first = try #require(try pool.listing("hosts/a", RadosListing.Limits(entries: 1)))
        #expect(first.entries.map(\.value.count).prefix(2) == [0, 1 << 20])
        // Nor does it count to the bytes in memory; there is another limit for all that is sent.
        #expect(try pool.listing("hosts/a", RadosListing.Limits(sent: 1 << 20))?.isWhole == false)
        #expect(throws: RadosError.self) { try pool.entries("hosts/a", RadosListing.Limits(bytes: 4 << 20)) }
        let source = try scratch.write([1, 2, 3], to: "f")
        try files.change("hosts/a", SiteFolderChange(host: "a", file: (source, "z.table"))) { true }
        #expect(try await pieces().count == 1)
        try files.removeFolder("hosts/a") { true }
        #expect(try await pieces().isEmpty)
        #expect(try pool.entries("hosts/a") == nil)
    }

    @Test("No such pool, or a cluster that is not there -> an error that says so within seconds")
    func absent() throws {
        let none = RadosPool(RadosPlace(pool: "no-such-pool", namespace: ""))
        #expect(performing { _ = try none.entries("x") }.contains("there is no pool 'no-such-pool'"))
        let configuration = try scratch.write(
            Array("[global]\nmon host = 127.0.0.1:1\nauth client required = none\n".utf8), to: "ceph.conf")
        let away = RadosPool(RadosPlace(pool: "rbd", namespace: ""), configuration: configuration)
        let began = ContinuousClock.now
        let said = NIOLockedValueBox<[String]>([])
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            let text = performing { _ = try away.entries("x") }
            said.withLockedValue { $0.append(text) }
        }
        #expect(said.withLockedValue { $0 }.allSatisfy { $0.contains("cannot ") }, "\(said)")
        // Each of them waits for 5 s by itself, one after the other.
        #expect(began.duration(to: .now) < .seconds(15))
    }

    private func performing(_ body: () throws -> Void) -> String {
        do { try body() } catch { return "\(error)" }
        return ""
    }
}
