import Foundation
import TestSupport
import Testing

@testable import FreeSpace

/// Damaged and hostile file systems, read in the test's own process: a number that is not checked ends it.
@Suite("Damaged volumes", .timeLimit(.minutes(15)))
struct DamagedVolumeTests {
    private let scratch = Scratch()
    private static let rounds = 400

    /// The places of a file system that decide what is read, in bytes of the partition.
    private func places(_ disk: FileSystemDisk) throws -> [Range<Int>] {
        switch disk.kind {
        case .xfs:
            let superblock = try disk.read(at: 0, count: 512)
            let log = superblock.bigEndian(UInt64.self, at: 48)
            let block =
                (log >> UInt64(superblock[124])) * UInt64(superblock.bigEndian(UInt32.self, at: 84))
                + log & (1 << UInt64(superblock[124]) - 1)
            let start = Int(block) * 4096
            return [0..<512, 512..<1024, 4096..<8192, start..<start + 1024, start..<start + 65536]
        case .ntfs, .ntfs512:
            let boot = try disk.read(at: 0, count: 512)
            let cluster = Int(boot.littleEndian(UInt16.self, at: 11)) * Int(boot[13])
            let table = Int(boot.littleEndian(UInt64.self, at: 48)) * cluster
            return [0..<96, table..<table + 512, table + 2048..<table + 8192, table..<table + 65536]
        case .btrfs:
            return [65536..<69632]
                + (try stride(from: 1 << 20, to: 160 << 20, by: 16384).filter {
                    try isNode(disk.read(at: $0, count: 16384))
                })
                .map { $0..<$0 + 16384 }
        case .ext4: return []
        }
    }

    /// Whether it is a node of the trees that are read: of trees, extents and chunks.
    private func isNode(_ bytes: [UInt8]) -> Bool {
        (1...3).contains(bytes.littleEndian(UInt64.self, at: 88))
            && CRC32C.of(bytes[32...]) == bytes.littleEndian(UInt32.self, at: 0)
    }

    /// Gives what was changed its checksum again, as a hostile guest does.
    private func seal(_ place: Range<Int>, _ disk: FileSystemDisk) throws {
        guard disk.kind == .btrfs else { return }
        let sum = CRC32C.of(try disk.read(at: place.lowerBound, count: place.count)[32...])
        try disk.write((0..<4).map { UInt8(truncatingIfNeeded: sum >> ($0 * 8)) }, at: place.lowerBound)
    }

    private func isRead(_ disk: FileSystemDisk, _ descriptor: CInt, isExact: Bool) -> Bool {
        let bytes = DiskBytes(
            descriptor: descriptor, start: UInt64(FileSystemDisk.start), size: UInt64(FileSystemDisk.size))
        let kind = FileSystem.Kind(rawValue: disk.kind.name)!
        var count = 0
        do {
            let source = try FileSystem(kind: kind, bytes: bytes).freeSpace(isExact: isExact)
            if isExact { try source.checkIsClean() }
            try source.forEach { _ in
                count += 1
                if count > 1 << 20 { throw FreeSpaceError.malformed }
            }
            return true
        } catch {
            return false
        }
    }

    @Test(
        "Bytes that say anything -> a verdict without a crash",
        arguments: [FileSystemDisk.Kind.xfs, .ntfs, .ntfs512, .btrfs])
    func damaged(_ kind: FileSystemDisk.Kind) async throws {
        let disk = try await FileSystemDisk(kind, scratch)
        var random = Seeded.fresh()
        let places = try places(disk)
        let descriptor = open(disk.path, O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        #expect(isRead(disk, descriptor, isExact: true) && isRead(disk, descriptor, isExact: false))
        var outcomes: [Bool: Int] = [:]
        // The log of XFS, which has 64 MiB, is read each time.
        for _ in 0..<(kind == .xfs ? Self.rounds / 4 : Self.rounds) {
            let place = places.randomElement(using: &random)!
            let kept = try disk.read(at: place.lowerBound, count: place.count)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                // Headers decide the most.
                let end = Bool.random(using: &random) ? place.endIndex : min(place.endIndex, place.startIndex + 600)
                let offset = Int.random(in: place.startIndex..<end - 8, using: &random)
                let length = [1, 2, 4, 8].randomElement(using: &random)!
                let byte: UInt8 = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random)!
                try disk.write([UInt8](repeating: byte, count: length), at: offset)
            }
            try seal(place, disk)
            outcomes[isRead(disk, descriptor, isExact: Bool.random(using: &random)), default: 0] += 1
            try disk.write(kept, at: place.lowerBound)
        }
        #expect(outcomes[true] != nil && outcomes[false] != nil, "both kinds of damage are played: \(outcomes)")
    }

    @Test("The checksum of a known text -> the one of RFC 3720")
    func checksum() {
        #expect(CRC32C.of([UInt8](repeating: 0, count: 32)[...]) == 0x8a91_36aa)
        #expect(CRC32C.of([UInt8](repeating: 0xff, count: 32)[...]) == 0x62a8_ab43)
        #expect(CRC32C.of([UInt8](repeating: 0xff, count: 32)[...], zeroing: 0..<32) == 0x8a91_36aa)
    }
}
