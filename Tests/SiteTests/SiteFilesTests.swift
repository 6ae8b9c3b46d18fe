import Foundation
import Index
import Rados
import TestSupport
import Testing

@testable import Site

/// All kinds of store behave alike.
@Suite("The files of a site in each kind of store", .timeLimit(.minutes(5)))
struct SiteFilesTests {
    private let scratch = Scratch()

    private func bytes(_ entry: SiteFolderEntry, in folder: any SiteFolder) throws -> [UInt8] {
        guard let stored = entry.stored else {
            return Array(try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/\(entry.name)")))
        }
        var bytes = [UInt8](repeating: 1, count: Int(stored.size))
        let isRead = bytes.withUnsafeMutableBytes { stored.read(into: $0, at: 0) }
        #expect(isRead)
        return bytes
    }

    /// Twenty bytes of a file; nil if the store does not have them.
    private func read(_ stored: any StoredFile, at offset: Int) -> [UInt8]? {
        var part = [UInt8](repeating: 1, count: 20)
        return part.withUnsafeMutableBytes { stored.read(into: $0, at: UInt64(offset)) } ? part : nil
    }

    @Test("Records -> absent, written, replaced, and no more of them than was asked for", arguments: StoreKind.here)
    func records(kind: StoreKind) throws {
        let files = try kind.make(in: scratch)
        try files.checkExistence()
        #expect(try files.read("a.json", atMost: 100) == nil && files.lastWritten("hosts/a/a.json") == nil)
        try files.write(Data("first, and longer".utf8), to: "a.json")
        try files.write(Data("second".utf8), to: "a.json")
        #expect(try files.read("a.json", atMost: 100) == Data("second".utf8))
        #expect(try files.read("a.json", atMost: 3) == Data("sec".utf8))
        let age = try #require(files.lastWritten("a.json")).timeIntervalSinceNow
        #expect(abs(age) < 3600)
    }

    @Test("Folders -> made once, listed, removed with all that is in them", arguments: StoreKind.here)
    func folders(kind: StoreKind) throws {
        let files = try kind.make(in: scratch)
        #expect(throws: (any Error).self) { try files.names(in: "hosts") }
        for folder in ["hosts", "hosts/a", "hosts/b", "hosts/a"] { try files.makeFolder(folder) }
        try files.checkFolder("hosts/a")
        #expect(throws: (any Error).self) { try files.checkFolder("hosts/c") }
        #expect(try files.names(in: "hosts").sorted() == ["a", "b"])
        let file = try scratch.write([1, 2, 3], to: "f")
        try files.change("hosts/a", SiteFolderChange(host: "a", file: (file, "f.table"))) { true }
        try files.removeFolder("hosts/a") { true }
        try files.removeFolder("hosts/a") { true }
        #expect(try files.names(in: "hosts") == ["b"])
        #expect(throws: (any Error).self) { try files.folder("hosts/a").entries() }
    }

    @Test("Files -> appear, are replaced and go; one with holes keeps them", arguments: StoreKind.here)
    func content(kind: StoreKind) throws {
        let files = try kind.make(in: scratch)
        try files.makeFolder("samples")
        let folder = files.folder("samples")
        var random = Seeded.fresh()
        // Three pieces of RADOS, the middle one of zeros.
        let piece = RadosFiles.pieceSize
        let old = random.bytes(piece) + [UInt8](repeating: 0, count: piece) + random.bytes(1000)
        let new = random.bytes(5000)
        func publish(_ bytes: [UInt8], removing: [String] = []) throws {
            let change = SiteFolderChange(
                host: "a", file: (try scratch.write(bytes, to: "f"), "x.catalogue"), removed: removing)
            try files.change("samples", change) { true }
        }
        try publish(old)
        let first = try #require(try folder.entries().first { $0.name == "x.catalogue" })
        #expect(try bytes(first, in: folder) == old)
        if let stored = first.stored {
            #expect(stored.allocated == UInt64(piece + 1000))
            #expect(stored.nextData(from: 5) == 5..<UInt64(piece))
            #expect(stored.nextData(from: UInt64(piece)) == UInt64(2 * piece)..<UInt64(2 * piece + 1000))
            #expect(stored.nextData(from: UInt64(old.count)) == nil)
            #expect(read(stored, at: piece - 10) == Array(old[piece - 10..<piece + 10]))
            #expect(read(stored, at: old.count - 19) == nil)
        }
        try files.change("samples", SiteFolderChange(host: "a", file: (scratch.file("f"), "y.catalogue"))) { true }
        try publish(new, removing: ["y.catalogue"])
        let entries = try folder.entries().filter { $0.name.hasSuffix("catalogue") }
        #expect(entries.map(\.name) == ["x.catalogue"])
        if let stored = first.stored { #expect(entries[0].stored?.version != stored.version) }
        #expect(try bytes(entries[0], in: folder) == new)
        // Bytes of a file that was replaced are a miss.
        if let stored = first.stored { #expect(read(stored, at: 0) == nil && stored.isDamaged) }
        try files.change("samples", SiteFolderChange(host: "a", removed: ["x.catalogue", "none"])) { true }
        #expect(try folder.entries().filter { $0.name.hasSuffix("catalogue") }.isEmpty)
    }

    @Test("A copy that is given up -> nothing of it is there", arguments: StoreKind.here)
    func interrupted(kind: StoreKind) throws {
        let files = try kind.make(in: scratch)
        try files.makeFolder("hosts")
        try files.makeFolder("hosts/a")
        var random = Seeded.fresh()
        let source = try scratch.write(random.bytes(9 << 20), to: "f")
        var asked = 0
        #expect(throws: CancellationError.self) {
            try files.change("hosts/a", SiteFolderChange(host: "a", file: (source, "x.table"))) {
                asked += 1
                return asked < 3
            }
        }
        #expect(try files.folder("hosts/a").entries().filter { !$0.name.hasPrefix(".") }.isEmpty)
    }

    @Test("The lease -> one holder; what one that has lost it has merged does not count", arguments: StoreKind.here)
    func lease(kind: StoreKind) throws {
        let files = try kind.make(in: scratch)
        try files.makeFolder("samples")
        let (a, b) = (files.makeLease(host: "a"), files.makeLease(host: "b"))
        let now = ContinuousClock.now
        #expect(try a.hold(now: now) && a.hold(now: now + .seconds(1)) && a.isHeld)
        #expect(try !b.hold(now: now) && !b.isHeld)
        let source = try scratch.write([1], to: "f")
        func change(_ lease: any SiteLease, _ name: String, removing: [String] = []) -> SiteFolderChange {
            SiteFolderChange(host: "a", file: (source, name), removed: removing, lease: lease)
        }
        try files.change("samples", change(a, "1.catalogue")) { true }
        a.release()
        #expect(try b.hold(now: now) && b.isHeld && !a.isHeld)
        #expect(throws: SiteError.lostLease(store: files.name)) {
            try files.change("samples", change(a, "2.catalogue", removing: ["1.catalogue"])) { true }
        }
        #expect(try files.folder("samples").entries().contains { $0.name == "1.catalogue" })
        try files.change("samples", change(b, "3.catalogue", removing: ["1.catalogue"])) { true }
        #expect(try !files.folder("samples").entries().contains { $0.name == "1.catalogue" })
    }
}
