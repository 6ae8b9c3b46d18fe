import Foundation
import TestSupport
import Testing

@testable import BlockModel
@testable import FreeSpace

/// The free blocks of real file systems, as the helper tells them, against what the file systems' own tools say.
@Suite("Free space", .timeLimit(.minutes(10)))
struct FreeSpaceTests {
    private let scratch = Scratch()

    /// The program is built beside the tests.
    static let program: String = {
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("nearblock").path
    }()

    private func read(_ path: String, seconds: Int = 60, program: String = Self.program) async throws -> BlockSet {
        try await onThread {
            let descriptor = open(path, O_RDWR | O_CLOEXEC)
            #expect(descriptor >= 0)
            defer { close(descriptor) }
            return FreeSpaceReader(program: program, seconds: seconds).free(on: descriptor, Self.geometry(of: path))
        }
    }

    private static func geometry(of path: String) -> BlockGeometry {
        var info = stat()
        stat(path, &info)
        return BlockGeometry(size: UInt64(info.st_size), blockSize: 4096)!
    }

    /// The blocks that lie in these runs as a whole.
    private func whole(_ image: FileSystemImage) -> BlockSet {
        var merged: [Range<UInt64>] = []
        for run in image.free {
            if let last = merged.last, last.upperBound == run.lowerBound {
                merged[merged.count - 1] = last.lowerBound..<run.upperBound
            } else {
                merged.append(run)
            }
        }
        let blocks = merged.map {
            ($0.lowerBound + 4095) / 4096..<max(($0.lowerBound + 4095) / 4096, $0.upperBound / 4096)
        }
        return BlockSet(blocks, of: Self.geometry(of: image.path).blockCount)
    }

    @Test(
        "ext2, ext3, ext4 -> what dumpe2fs says",
        arguments: [
            (["-t", "ext4"], "gpt"), (["-t", "ext4", "-b", "1024"], "dos"), (["-t", "ext2"], nil),
            (["-t", "ext3", "-b", "2048"], "gpt"), (["-t", "ext4", "-O", "^64bit,^flex_bg"], nil),
            (["-t", "ext4", "-O", "bigalloc", "-C", "16384"], "gpt"),
            (["-t", "ext4", "-O", "meta_bg,^resize_inode"], "dos"),
        ] as [([String], String?)])
    func ext(_ options: [String], label: String?) async throws {
        let image = try await FileSystemImage.ext(options, label: label, scratch)
        let expected = whole(image)
        #expect(Array(expected).count > 3)
        #expect(try await read(image.path) == expected)
    }

    @Test(
        "XFS -> what xfs_db says",
        arguments: [[], ["-m", "crc=0"], ["-b", "size=1024"], ["-d", "agcount=3", "-s", "size=4096"]] as [[String]])
    func xfs(_ options: [String]) async throws {
        let image = try await FileSystemImage.xfs(options, scratch)
        let expected = whole(image)
        #expect(!expected.isEmpty)
        #expect(try await read(image.path) == expected)
    }

    @Test("Disks without a file system, a helper that ends without an answer or gives none -> no free blocks")
    func none() async throws {
        let empty = try scratch.hole(8 << 20, "empty.raw")
        #expect(try await read(empty).isEmpty)
        let noise = try scratch.write(
            (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }, to: "noise.raw")
        #expect(try await read(noise).isEmpty)
        let swap = try await FileSystemImage.partitioned("gpt", scratch)
        #expect(try await read(swap).isEmpty)
        let image = try await FileSystemImage.ext(["-t", "ext4"], label: "gpt", scratch)
        #expect(try await read(image.path, program: "/bin/true").isEmpty)
        #expect(try await read(image.path, program: "/no/such/program").isEmpty)
        let slow = try scratch.write(Array("#!/bin/sh\nexec sleep 1000\n".utf8), to: "slow")
        chmod(slow, 0o755)
        #expect(try await read(image.path, seconds: 0, program: slow).isEmpty)
    }

    @Test("Damaged ext4 -> the helper ends, and no block beyond the disk is free", .timeLimit(.minutes(5)))
    func damagedExt() async throws {
        let image = try await FileSystemImage.ext(["-t", "ext4"], label: nil, scratch)
        var random = Seeded.fresh()
        for _ in 0..<40 {
            let copy = scratch.file("copy.raw")
            try? FileManager.default.removeItem(atPath: copy)
            _ = try await FileSystemImage.succeed("/bin/cp", ["--sparse=always", image.path, copy])
            // The superblock, group descriptors and bitmaps.
            try damage(copy, &random, places: [1024..<2048, 4096..<8192, 1024..<2048, 4096..<1 << 20])
            _ = try await read(copy)
        }
    }

    @Test("Damaged XFS -> a verdict without a crash, in the test's own process")
    func damagedXFS() async throws {
        let image = try await FileSystemImage.xfs([], scratch)
        var random = Seeded.fresh()
        let descriptor = open(image.path, O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        let size = Self.geometry(of: image.path).size
        var kept = [UInt8](repeating: 0, count: 1 << 20)
        #expect(pread(descriptor, &kept, kept.count, 0) == kept.count)
        var outcomes: [Bool: Int] = [:]
        for _ in 0..<400 {
            try damage(image.path, &random, places: [0..<512, 512..<1024, 4096..<8192, 0..<1 << 16])
            var count = 0
            do {
                try XFSFreeSpace(DiskBytes(descriptor: descriptor, start: 0, size: size)).forEach { _ in
                    count += 1
                    if count > 1 << 20 { throw FreeSpaceError.malformed }
                }
                outcomes[true, default: 0] += 1
            } catch is FreeSpaceError {
                outcomes[false, default: 0] += 1
            }
            #expect(pwrite(descriptor, kept, kept.count, 0) == kept.count)
        }
        #expect(outcomes[true] != nil && outcomes[false] != nil, "both kinds of damage are played: \(outcomes)")
    }

    private func damage(_ path: String, _ random: inout Seeded, places: [Range<Int>]) throws {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let place = Int.random(in: places.randomElement(using: &random)!, using: &random)
            let length = [1, 2, 4, 8].randomElement(using: &random)!
            let byte: UInt8 = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random)!
            #expect(pwrite(descriptor, [UInt8](repeating: byte, count: length), length, off_t(place)) == length)
        }
    }

    @Test("The helper's stream cut anywhere, and with wrong counts -> no whole answer")
    func streams() throws {
        let runs = [ByteRun(start: 0, length: 5000), ByteRun(start: 8192, length: 4096)]
        let bytes = runs.flatMap { RunStream.bytes(of: $0) } + RunStream.bytes(0, 2)
        for cut in 0...bytes.count {
            var parser = RunStream.Parser()
            var found: [ByteRun] = []
            try parser.take(bytes[..<cut]) { found.append($0) }
            #expect(!parser.isWhole || cut == bytes.count)
            try parser.take(bytes[cut...]) { found.append($0) }
            #expect(parser.isWhole)
            #expect(found == [ByteRun(start: 1, length: 4999), runs[1]])
        }
        for wrong in [RunStream.bytes(0, 1), RunStream.bytes(0, 0) + RunStream.bytes(0, 0)] {
            #expect(throws: FreeSpaceError.malformed) {
                var parser = RunStream.Parser()
                try parser.take(wrong) { _ in }
            }
        }
    }
}
