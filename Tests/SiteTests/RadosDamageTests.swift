import Foundation
import Index
import TestSupport
import Testing

@testable import Rados
@testable import Site

/// Entries of a RADOS store that no node writes, or more of them than a listing takes. Runs with the cluster of
/// `nbd-scripts/test ceph`.
@Suite("Damaged entries in RADOS", .enabled(if: StoreKind.configuration != nil), .timeLimit(.minutes(5)))
struct RadosDamageTests {
    private let scratch = Scratch()
    private let pool = StoreKind.pool()
    private var files: RadosFiles { RadosFiles(pool: pool) }

    private func rados(_ arguments: String...) async throws -> String {
        let place = ["-c", StoreKind.configuration ?? "", "-p", pool.place.pool, "-N", pool.place.namespace]
        let done = try await Command.run("rados", place + arguments)
        #expect(done.status == 0, "\(arguments): \(done.errors)")
        return done.output
    }

    /// The objects with bytes of files.
    private func pieces() async throws -> [String] {
        try await rados("ls").split(separator: "\n").map(String.init).filter { $0.hasPrefix("data/") }
    }

    /// Sets a key of any bytes.
    private func set(_ key: [UInt8], _ value: Data, of object: String) async throws {
        let files = (try scratch.write(key, to: "key"), try scratch.write(Array(value), to: "value"))
        _ = try await rados("--omap-key-file", files.0, "--input-file", files.1, "setomapval", object)
    }

    private func publish(_ name: String, _ bytes: [UInt8]) throws {
        let source = try scratch.write(bytes, to: "f")
        try files.change("hosts/a", SiteFolderChange(host: "a", file: (source, name))) { true }
    }

    @Test("Keys with zeros, or that are no text -> left out, hide no others, and go with their folder and their pieces")
    func keys() async throws {
        for folder in ["hosts", "hosts/a"] { try files.makeFolder(folder) }
        let head = RadosHead(size: 100, host: "a").withAllPieces()
        try [1].withUnsafeBytes { try pool.write(head.object(0), $0) }
        // More than one request for a listing has.
        for number in 0..<6 {
            try await set(Array("0\0".utf8) + [UInt8(number)], try head.encoded(), of: "hosts/a")
        }
        for key: [UInt8] in [[0xff, 0xfe], [0x31, 0x80], [0], [0x31, 0]] { try await set(key, Data(), of: "hosts/a") }
        try publish("z.table", [1, 2, 3])
        #expect(try files.names(in: "hosts/a") == ["z.table"])
        #expect(try files.folder("hosts/a").entries().map(\.name) == ["z.table"])
        #expect(try await pieces().count == 2)
        try files.removeFolder("hosts/a") { true }
        #expect(try await pieces().isEmpty)
        #expect(try pool.entries("hosts/a") == nil && files.names(in: "hosts").isEmpty)
    }

    @Test("More entries than a listing takes -> an error, and a change loses no pieces; the folder can be removed")
    func tooMany() async throws {
        for folder in ["hosts", "hosts/a"] { try files.makeFolder(folder) }
        try publish("z.table", [1, 2, 3])
        for first in stride(from: 0, to: 9000, by: 1000) {
            try pool.change("hosts/a", (first..<first + 1000).map { .set(key: "\(10000 + $0)", value: Data()) })
        }
        #expect(throws: (any Error).self) { try files.names(in: "hosts/a") }
        #expect(throws: (any Error).self) { try files.folder("hosts/a").entries() }
        #expect(throws: (any Error).self) { try files.removeLeftovers(in: "hosts/a", isOf: { _ in true }) { true } }
        try publish("z.table", [4, 5, 6])
        #expect(try await pieces().count == 1)
        try files.change("hosts/a", SiteFolderChange(host: "a", removed: ["z.table"])) { true }
        #expect(try await pieces().isEmpty)
        let publisher = TablePublisher(index: scratch.file("index"), host: "a", files: files)
        let image = try scratch.write([UInt8](repeating: 7, count: 8192), to: "x.raw")
        _ = try IndexStore(directory: scratch.file("index")).add(image, options: BuildOptions(threads: 1))
        #expect(throws: (any Error).self) { try publisher.publish { true } }
        #expect(try await pieces().isEmpty)
        try files.removeFolder("hosts/a") { true }
        #expect(try files.names(in: "hosts").isEmpty)
    }

    /// The pieces that the only entry of a folder names.
    private func named(in folder: String) throws -> [ClosedRange<UInt64>]? {
        try pool.entries(folder)?.first.flatMap { RadosHead($0.value) }?.pieces
    }

    @Test("An entry with thousands of pieces that are not there -> a call removes a part, and the next one goes on")
    func pieceCounts() throws {
        for folder in ["hosts", "hosts/a"] { try files.makeFolder(folder) }
        let most = UInt64(RadosFiles.piecesAtOnce)
        let head = RadosHead(size: (most + 10) << 22, host: "b").withAllPieces()
        try pool.change("hosts/a", [.set(key: "~\(head.id)", value: try head.encoded())])
        func isOf(_ host: String) -> Bool { host == "b" }
        var asked = 0
        #expect(throws: CancellationError.self) {
            try files.removeLeftovers(in: "hosts/a", isOf: isOf) {
                asked += 1
                return asked <= 3
            }
        }
        #expect(try named(in: "hosts/a") == [3...most + 9])
        try files.removeLeftovers(in: "hosts/a", isOf: isOf) { true }
        #expect(try named(in: "hosts/a") == [most + 3...most + 9])
        try files.removeLeftovers(in: "hosts/a", isOf: isOf) { true }
        #expect(try pool.entries("hosts/a")?.isEmpty == true)
        // The same for a file in a folder that is removed.
        try pool.change("hosts/a", [.set(key: "x.table", value: try head.encoded())])
        asked = 0
        #expect(throws: CancellationError.self) {
            try files.removeFolder("hosts/a") {
                asked += 1
                return asked <= 3
            }
        }
        #expect(try files.names(in: "hosts/a").isEmpty && files.names(in: "hosts") == ["a"])
        #expect(try named(in: "hosts/a") == [3...most + 9])
        try files.removeFolder("hosts/a") { true }
        #expect(try files.names(in: "hosts").isEmpty)
    }

    @Test("A folder into which somebody writes while it is removed -> an error, and no endless loop")
    func busyFolder() throws {
        for folder in ["hosts", "hosts/a"] { try files.makeFolder(folder) }
        let entries = try ["x.table", "y.table"].map { name in
            try RadosChange.set(key: name, value: RadosHead(size: 100, host: "a").withAllPieces().encoded())
        }
        try pool.change("hosts/a", entries)
        var asked = 0
        #expect(throws: SiteError.comesBack(folder: files.path(of: "hosts/a"))) {
            try files.removeFolder("hosts/a") {
                asked += 1
                // The first one is gone already.
                if asked % 2 == 0 { _ = try? pool.change("hosts/a", [entries[0]]) }
                return asked < 100
            }
        }
        // For each piece, and after the pass.
        #expect(asked == 3)
    }

    @Test("Very many entries without pieces -> the removal of their folder can be interrupted, and goes on")
    func interrupted() throws {
        for folder in ["hosts", "hosts/a"] { try files.makeFolder(folder) }
        for first in stride(from: 0, to: 9000, by: 1000) {
            try pool.change("hosts/a", (first..<first + 1000).map { .set(key: "\(10000 + $0)", value: Data()) })
        }
        #expect(throws: CancellationError.self) { try files.removeFolder("hosts/a") { false } }
        #expect(try pool.entries("hosts/a")?.count == 9000 - RadosListing.Limits().entries)
        try files.removeFolder("hosts/a") { true }
        #expect(try files.names(in: "hosts").isEmpty)
    }

    @Test("A file that no host would open -> refused before anything is written")
    func tooLarge() throws {
        for folder in ["hosts", "hosts/a"] { try files.makeFolder(folder) }
        let source = try scratch.write([1], to: "f")
        #expect(truncate(source, off_t(StoredPages.largest) + 1) == 0)
        #expect(throws: SiteError.tooLarge(file: source)) {
            try files.change("hosts/a", SiteFolderChange(host: "a", file: (source, "x.table"))) { true }
        }
        #expect(try pool.entries("hosts/a")?.isEmpty == true)
    }
}
