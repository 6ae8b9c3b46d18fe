import Block
import Foundation
import TestSupport
import Testing

@testable import StorageDaemon

/// The files that a disk's contents depend on, in images that qemu-img has made.
@Suite("Stamps of a formatted file", .timeLimit(.minutes(10)))
struct FormattedFileStampsTests {
    private let scratch = Scratch()

    private func make(_ name: String, _ arguments: String...) async throws -> String {
        let path = scratch.file(name)
        let made = try await Command.run("qemu-img", ["create", "-q", "-u"] + arguments + [path, "8M"])
        try #require(made.status == 0, "\(made)")
        return path
    }

    private func count(_ path: String, _ format: String = "qcow2") throws -> Int? {
        try FormattedFile(path: path, format: format).stamps()?.count
    }

    @Test("A chain, by relative and absolute names -> a stamp for each file")
    func chains() async throws {
        _ = try scratch.hole(8 << 20, "base")
        _ = try await make("one", "-f", "qcow2", "-b", "base", "-F", "raw")
        let two = try await make("two", "-f", "qcow2", "-b", scratch.file("one"), "-F", "qcow2")
        #expect(try count(two) == 3)
        #expect(try count(try await make("alone", "-f", "qcow2")) == 1)
        for format in ["vdi", "vhdx"] {
            #expect(try count(try await make(format, "-f", format), format) == 1)
        }
    }

    @Test("Names that lead to no local file, or to themselves, other data files and VMDK -> unknown")
    func unknown() async throws {
        for base in ["nbd://localhost/", "json:{\"driver\":\"file\"}", "file:base"] {
            #expect(try count(try await make("far", "-f", "qcow2", "-b", base, "-F", "raw")) == nil, "\(base)")
        }
        #expect(try count(try await make("self", "-f", "qcow2", "-b", "self", "-F", "qcow2")) == nil)
        let parted = try await make("parted", "-f", "qcow2", "-o", "data_file=\(scratch.file("data"))")
        #expect(try count(parted) == nil)
        #expect(try count(try await make("vmdk", "-f", "vmdk"), "vmdk") == nil)
        let orphan = try await make("orphan", "-f", "qcow2", "-b", "none", "-F", "raw")
        #expect(throws: (any Error).self) { try count(orphan) }
    }
}
