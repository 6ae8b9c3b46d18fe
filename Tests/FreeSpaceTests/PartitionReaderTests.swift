import Foundation
import TestSupport
import Testing

@testable import BlockModel
@testable import FreeSpace

/// The places of partitions as the helper tells them, against the tables that sfdisk was told to make.
@Suite("Partitions", .timeLimit(.minutes(5)))
struct PartitionReaderTests {
    private let scratch = Scratch()
    private static let size = 64 << 20

    private func places(_ path: String, program: String = FreeSpaceTests.program) async throws -> [UInt64]? {
        try await onThread {
            let descriptor = open(path, O_RDWR | O_CLOEXEC)
            #expect(descriptor >= 0)
            defer { close(descriptor) }
            return PartitionReader(program: program, seconds: 60).places(on: descriptor)
        }
    }

    /// The origins, in sectors.
    private func origins(_ path: String) async throws -> [UInt64] {
        let size = UInt64(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0)
        let places = try #require(try await places(path))
        return GridLayout.origins(for: places, diskSize: size, blockSize: 4096).map { $0 / 512 }
    }

    private func disk(_ table: String) async throws -> String {
        let path = try scratch.hole(Self.size, "disk.raw")
        let script = try scratch.write(Array(table.utf8), to: "table")
        _ = try await FileSystemImage.succeed(
            "/bin/sh", ["-c", "/usr/sbin/sfdisk --quiet --force \(path) < \(script)"])
        return path
    }

    @Test(
        "Partitions of MBR and GPT -> origins where the grid needs them",
        arguments: [
            ("label: dos\nstart=63, size=20000, type=83\n", [63]),
            ("label: dos\nstart=2048, size=20000, type=83\nstart=22048, type=83\n", []),
            ("label: dos\nstart=63, size=20001\nstart=20071, size=20000\nstart=40961, size=99\n", [63, 40961]),
            // The second one goes on with the grid of the first.
            ("label: dos\nstart=63, size=20000\nstart=20063, size=20000\n", [63]),
            (
                "label: dos\nstart=63, size=10000\nstart=10063, size=80000, type=5\nstart=10126, size=10001\n"
                    + "start=20191, size=10000\n", [63, 10126, 20191]
            ),
            ("label: gpt\nstart=2049, size=20000\nstart=40000, size=10\n", [2049, 40000]),
        ] as [(String, [UInt64])])
    func tables(_ table: String, expected: [UInt64]) async throws {
        #expect(try await origins(try await disk(table)) == expected)
    }

    @Test("A GPT whose first copy is damaged -> the copy at the end counts")
    func backup() async throws {
        let path = try await disk("label: gpt\nstart=2049, size=20000\n")
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.seek(toOffset: 512)
        file.write(Data(repeating: 7, count: 512))
        try file.close()
        #expect(try await origins(path) == [2049])
    }

    @Test("LVM, on all of the disk or on a partition -> its extents are a place too", arguments: [0, 63])
    func physicalVolume(_ sector: Int) async throws {
        let path =
            sector == 0
            ? try scratch.hole(Self.size, "disk.raw") : try await disk("label: dos\nstart=\(sector), type=8e\n")
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        // As lvm2 writes it into the second sector, with extents from 129 KiB on.
        var label = [UInt8]("LABELONE".utf8) + [1, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 240)
        label.replaceSubrange(20..<32, with: [32, 0, 0, 0] + Array("LVM2 001".utf8))
        label.replaceSubrange(72..<80, with: [0, 4, 2, 0, 0, 0, 0, 0])
        try file.seek(toOffset: UInt64(sector * 512 + 512))
        file.write(Data(label))
        try file.close()
        #expect(try await origins(path) == (sector == 0 ? [258] : [63, 63 + 258]))
    }

    @Test("A file system on all of the disk, an empty disk, noise -> no origins; no helper -> no answer")
    func none() async throws {
        let system = try await FileSystemImage.ext(["-t", "ext4"], label: nil, scratch)
        #expect(try await origins(system.path) == [])
        #expect(try await origins(try scratch.hole(8 << 20, "empty.raw")) == [])
        var random = Seeded.fresh()
        #expect(try await origins(try scratch.write(random.bytes(1 << 20), to: "noise.raw")) == [])
        #expect(try await origins(try scratch.write([1], to: "byte.raw")) == [])
        let partitioned = try await disk("label: dos\nstart=63, type=83\n")
        #expect(try await places(partitioned, program: "/bin/true") == nil)
        #expect(try await places(partitioned, program: "/no/such/program") == nil)
    }

    @Test("Damaged tables, and extended partitions that lead to themselves -> an answer, and a valid grid")
    func damaged() async throws {
        var random = Seeded.fresh()
        let path = try await disk(
            "label: dos\nstart=63, size=10000\nstart=10063, size=80000, type=5\nstart=10126, size=10001\n"
                + "start=20190, size=10000\n")
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        for round in 0..<60 {
            let sector = [0, 10063, 20127].randomElement(using: &random)!
            var entry = random.bytes(16)
            // Often a partition, or one that holds others; often one that begins at the chain itself.
            if Bool.random(using: &random) { entry[4] = [0x05, 0x0f, 0x83, 0xee].randomElement(using: &random)! }
            if round % 3 == 0 { entry.replaceSubrange(8..<12, with: [0, 0, 0, 0]) }
            let place = off_t(sector * 512 + 446 + Int.random(in: 0..<4, using: &random) * 16)
            #expect(pwrite(descriptor, entry, 16, place) == 16)
            let places = try #require(try await places(path))
            let origins = GridLayout.origins(for: places, diskSize: UInt64(Self.size), blockSize: 4096)
            #expect(BlockGeometry(size: UInt64(Self.size), blockSize: 4096, origins: origins) != nil)
        }
    }
}
