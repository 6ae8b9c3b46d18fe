import Foundation
import TestSupport
import Testing

@testable import BlockModel
@testable import FreeSpace

/// The helper calls only file systems clean that were unmounted cleanly, and tells only what is free in them.
@Suite("Volumes", .timeLimit(.minutes(15)))
struct VolumeTests {
    private let scratch = Scratch()

    private func volumes(_ path: String) async throws -> [Volume] {
        let found = try await onThread {
            let descriptor = open(path, O_RDWR | O_CLOEXEC)
            #expect(descriptor >= 0)
            defer { close(descriptor) }
            var info = stat()
            fstat(descriptor, &info)
            return try VolumeReader(program: FreeSpaceTests.program)
                .volumes(on: descriptor, size: UInt64(info.st_size)) { true }
        }
        return try #require(found)
    }

    private func verdict(_ disk: FileSystemDisk) async throws -> VolumeVerdict? {
        let volumes = try await volumes(disk.path)
        #expect(volumes.count == 1)
        #expect(volumes[0].fileSystem == disk.kind.name)
        #expect([.clean, .untold].contains(volumes[0].verdict) || volumes[0].free.isEmpty)
        return volumes[0].verdict
    }

    /// The verdict of a file system that was unmounted cleanly: some do not show it.
    private func clean(_ kind: FileSystemDisk.Kind) -> VolumeVerdict {
        ["btrfs", "ntfs"].contains(kind.name) ? .untold : .clean
    }

    @Test(
        "Each file system, unmounted -> clean, or not to be told; zeros over all free bytes change no file",
        arguments: FileSystemDisk.Kind.allCases)
    func clean(_ kind: FileSystemDisk.Kind) async throws {
        let disk = try await FileSystemDisk(kind, scratch)
        let volume = try #require(try await volumes(disk.path).first)
        #expect(volume.verdict == clean(kind) && volume.fileSystem == kind.name)
        #expect(volume.bytes == 1 << 20..<305 << 20)
        let free = volume.free.reduce(0) { $0 + $1.count }
        // The files that are left take 6 MiB, and a log of XFS 64 MiB.
        #expect(free > FileSystemDisk.size - (80 << 20) && free < FileSystemDisk.size - (6 << 20), "\(free)")
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: disk.path))
        for run in volume.free {
            try file.seek(toOffset: run.lowerBound)
            // Worse than zeros.
            try file.write(contentsOf: [UInt8](repeating: 0xa5, count: run.count))
        }
        try file.close()
        try await disk.check()
    }

    @Test(
        "NTFS -> as many free clusters as ntfsinfo says", arguments: [FileSystemDisk.Kind.ntfs, .ntfs512])
    func ntfsCount(_ kind: FileSystemDisk.Kind) async throws {
        let disk = try await FileSystemDisk(kind, scratch)
        let free = try await volumes(disk.path)[0].free.reduce(0) { $0 + $1.count }
        let part = scratch.file("part.raw")
        _ = try await FileSystemImage.succeed(
            "/bin/dd", ["if=\(disk.path)", "of=\(part)", "bs=1M", "skip=1", "count=304", "status=none"])
        let said = try await FileSystemImage.succeed("/usr/bin/ntfsinfo", ["-m", part])
        let line = try #require(said.split(separator: "\n").first { $0.contains("Free Clusters:") })
        let clusters = try #require(line.split(separator: " ").compactMap { Int($0) }.first)
        #expect(clusters * (kind == .ntfs ? 4096 : 512) == free, "\(line)")
    }

    @Test(
        "A copy of a mounted file system -> not clean",
        arguments: [
            (FileSystemDisk.Kind.ext4, "touch now; sync -f ."), (.xfs, "touch now; sync -f ."),
            (.btrfs, "sync -f .; dd if=/dev/zero of=now bs=4k count=1 conv=fsync status=none"),
        ])
    func mounted(_ kind: FileSystemDisk.Kind, script: String) async throws {
        let disk = try await FileSystemDisk(kind, scratch, copyMounted: script)
        let said = try await verdict(disk)
        // A btrfs that has just committed looks like one that is not mounted.
        #expect(said == .notClean || kind == .btrfs && said == .untold)
    }

    // MARK: ext4

    @Test("ext4 with errors, with orphans, with another mount's mark, with a count that does not fit -> no trim")
    func ext() async throws {
        let disk = try await FileSystemDisk(.ext4, scratch)
        let place = "\(disk.path)?offset=\(FileSystemDisk.start)"
        for (command, expected) in [
            ("ssv state 3", VolumeVerdict.notClean), ("ssv state 0", .notClean), ("ssv state 1", .clean),
            ("ssv last_orphan 12", .notClean), ("ssv last_orphan 0", .clean),
            ("feature needs_recovery", .notClean), ("feature -needs_recovery", .clean),
            ("set_bg 1 free_blocks_count 7\nset_bg 1 checksum calc", .damaged), ("feature mmp", .unsupported),
        ] {
            let script = try scratch.write(Array("\(command)\n".utf8), to: "script")
            _ = try await FileSystemImage.succeed("/usr/sbin/debugfs", ["-w", "-f", script, place])
            #expect(try await verdict(disk) == expected, "\(command)")
        }
    }

    @Test("ext4 whose bitmap was changed -> no trim, since its checksum does not fit")
    func extBitmap() async throws {
        let disk = try await FileSystemDisk(.ext4, scratch)
        let said = try await FileSystemImage.succeed(
            "/usr/sbin/dumpe2fs", ["\(disk.path)?offset=\(FileSystemDisk.start)"])
        let line = try #require(said.split(separator: "\n").first { $0.contains("Block bitmap at") })
        let block = try #require(line.split(separator: " ").compactMap { Int($0) }.first)
        try disk.write([0], at: block * 4096 + 1)
        #expect(try await verdict(disk) == .damaged)
    }

    // MARK: NTFS

    /// Changes the word of flags of an NTFS's volume.
    private func setFlags(_ flags: UInt16, _ disk: FileSystemDisk, cluster: Int) throws {
        let boot = try disk.read(at: 0, count: 512)
        let place = Int(boot.littleEndian(UInt64.self, at: 48)) * cluster + 3 * 1024
        let record = try disk.read(at: place, count: 512)
        var attribute = Int(record.littleEndian(UInt16.self, at: 20))
        while record.littleEndian(UInt32.self, at: attribute) != 0x70 {
            attribute += Int(record.littleEndian(UInt32.self, at: attribute + 4))
        }
        let value = attribute + Int(record.littleEndian(UInt16.self, at: attribute + 20))
        try disk.write([UInt8(truncatingIfNeeded: flags), UInt8(flags >> 8)], at: place + value + 10)
    }

    @Test("An NTFS that is dirty or checked -> not clean", arguments: [FileSystemDisk.Kind.ntfs, .ntfs512])
    func ntfsDirty(_ kind: FileSystemDisk.Kind) async throws {
        let disk = try await FileSystemDisk(kind, scratch)
        for (flags, expected) in [(1, VolumeVerdict.notClean), (0x4000, .notClean), (0, .untold)] {
            try setFlags(UInt16(flags), disk, cluster: kind == .ntfs ? 4096 : 512)
            #expect(try await verdict(disk) == expected)
        }
    }

    @Test(
        "An NTFS with hiberfil.sys -> as its first word says, whatever else is in the folder",
        arguments: [
            ("hibr", VolumeVerdict.asleep), ("HIBR", .asleep), ("RSTR", .asleep), ("wake", .untold),
            ("\0\0\0\0", .untold),
        ])
    func hibernated(_ word: String, expected: VolumeVerdict) async throws {
        let disk = try await FileSystemDisk(.ntfs, scratch)
        let script = """
            set -e; cd \(scratch.path)
            dd if=disk.raw of=part.raw bs=1M skip=1 count=304 status=none
            mkdir -p mount; ntfs-3g part.raw mount
            for file in $(seq 300); do echo > mount/file-$file-with-a-name-that-fills-blocks; done
            (printf '\(word.replacingOccurrences(of: "\0", with: "\\0"))'; head -c 100000 /dev/zero) > mount/Hiberfil.sys
            sync -f mount; umount mount
            dd if=part.raw of=disk.raw bs=1M seek=1 conv=notrunc status=none
            """
        _ = try await FileSystemImage.succeed("/bin/bash", ["-c", script])
        #expect(try await verdict(disk) == expected)
    }

    @Test("An NTFS whose log has work, or that Windows keeps in memory -> no trim")
    func ntfsLog() async throws {
        let disk = try await FileSystemDisk(.ntfs, scratch)
        let boot = try disk.read(at: 0, count: 512)
        let record = try disk.read(at: Int(boot.littleEndian(UInt64.self, at: 48)) * 4096 + 2 * 1024, count: 1024)
        let whole = try NTFSRecord(record)
        guard case .clusters(let runs, _, _)? = try whole.attribute(.data), let cluster = runs[0].cluster else {
            Issue.record("no log")
            return
        }
        for (version, client, flags, expected) in [
            (1, 0xffff, 0, VolumeVerdict.untold), (1, 0, 2, .untold), (1, 0, 0, .notClean), (2, 0xffff, 2, .asleep),
        ] {
            try disk.write(Self.restartPage(version, client, flags), at: Int(cluster) * 4096)
            #expect(try await verdict(disk) == expected, "\(version) \(client) \(flags)")
        }
        try disk.write(Array("RCRD".utf8), at: Int(cluster) * 4096)
        #expect(try await verdict(disk) == .notClean)
    }

    private static func restartPage(_ version: Int, _ client: Int, _ flags: Int) -> [UInt8] {
        var page = [UInt8](repeating: 0, count: 4096)
        page.replaceSubrange(0..<4, with: Array("RSTR".utf8))
        for (place, value) in [
            (4, 30), (6, 9), (16, 4096), (20, 4096), (24, 48), (28, version), (56, 1), (60, client), (62, flags),
        ] {
            page[place] = UInt8(value & 0xff)
            page[place + 1] = UInt8(value >> 8)
        }
        // The number of the writing, and what stands in its place.
        page[30] = 7
        for end in stride(from: 512, through: 4096, by: 512) { page[end - 2] = 7 }
        return page
    }

    // MARK: Disks

    @Test("Partitions that overlap, and an old table before a file system -> no trim")
    func overlapping() async throws {
        let disk = try await FileSystemDisk(.ext4, scratch)
        let table = try scratch.write(Array("label: dos\nstart=1MiB, size=304MiB\n".utf8), to: "table")
        _ = try await FileSystemImage.succeed(
            "/bin/sh", ["-c", "/usr/sbin/sfdisk --quiet --force --wipe never \(disk.path) < \(table)"])
        #expect(try await volumes(disk.path).map(\.verdict) == [.clean])
        // A second entry, of 10 MiB at 100 MiB; sfdisk makes none that overlaps.
        let entry: [UInt8] = [0, 0, 0, 0, 0x83, 0, 0, 0, 0, 0x20, 3, 0, 0, 0x50, 0, 0]
        try disk.write(entry, at: 462 - FileSystemDisk.start)
        #expect(try await volumes(disk.path).first { $0.fileSystem == "ext4" }?.verdict == .overlapping)
        try disk.write([UInt8](repeating: 0, count: 16), at: 462 - FileSystemDisk.start)
        // The whole disk gets another file system, behind a table that mke2fs leaves where it is.
        let table512 = try #require(FileHandle(forReadingAtPath: disk.path)?.readData(ofLength: 512))
        let whole = scratch.file("whole.raw")
        _ = try await FileSystemImage.succeed(
            "/bin/sh", ["-c", "truncate -s 8M \(whole) && /usr/sbin/mke2fs -q -F -t ext4 \(whole)"])
        let superblock = try Data(contentsOf: URL(fileURLWithPath: whole))[..<4096]
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: disk.path))
        try file.write(contentsOf: table512 + superblock[512...])
        try file.close()
        #expect(try await volumes(disk.path).map(\.verdict) == [.overlapping])
    }

    @Test("A Linux that sleeps on another partition -> no trim")
    func sleeping() async throws {
        let disk = try await FileSystemDisk(.ext4, scratch)
        let table = try scratch.write(
            Array("label: gpt\nstart=1MiB, size=304MiB\nstart=305MiB, size=15MiB\n".utf8), to: "table")
        _ = try await FileSystemImage.succeed(
            "/bin/sh",
            ["-c", "truncate -s 322M \(disk.path) && /usr/sbin/sfdisk --quiet --wipe never \(disk.path) < \(table)"])
        try disk.write(Array("S1SUSPEND".utf8), at: (304 << 20) + 4086)
        #expect(try await volumes(disk.path).map(\.verdict) == [.asleep, .unknown])
        try disk.write(Array("SWAPSPACE2".utf8), at: (304 << 20) + 4086)
        #expect(try await volumes(disk.path).map(\.verdict) == [.clean, .unknown])
    }

    @Test(
        "A dynamic disk of Windows, whose volumes' parts need not follow each other -> no trim",
        arguments: [
            "label: dos\nstart=1MiB, size=304MiB, type=42\n",
            """
            label: gpt
            start=1MiB, size=304MiB, type=AF9B60A0-1431-4F62-BC68-3311714A69AD

            """,
        ])
    func dynamic(_ table: String) async throws {
        let disk = try await FileSystemDisk(.ext4, scratch)
        let script = try scratch.write(Array(table.utf8), to: "table")
        _ = try await FileSystemImage.succeed(
            "/bin/sh",
            ["-c", "truncate -s 322M \(disk.path) && /usr/sbin/sfdisk --quiet --wipe never \(disk.path) < \(script)"])
        #expect(try await volumes(disk.path).map(\.verdict) == [.unsupported])
    }

    @Test("Answers of a helper that say anything -> no volume with more than its own bytes")
    func streams() throws {
        let volume = Volume(bytes: 100..<200, fileSystem: "xfs", verdict: .clean, free: [100..<110, 150..<200])
        let none = Volume(bytes: 0..<100, fileSystem: nil, verdict: .unknown)
        let runs = VolumeStream.runs(of: none) + VolumeStream.runs(of: volume)
        var reader = VolumeStream.Reader()
        for run in runs { try reader.take(run) }
        #expect(reader.isWhole && reader.volumes == [none, volume])
        for wrong in [
            [ByteRun(start: 101, length: 100), ByteRun(start: 4 + 1, length: 1), ByteRun(start: 100, length: 2)],
            [ByteRun(start: 101, length: 100), ByteRun(start: 4 + 1, length: 1), ByteRun(start: 200, length: 2)],
            [ByteRun(start: 101, length: 100), ByteRun(start: 1, length: 1)],
            [ByteRun(start: 101, length: 100), ByteRun(start: 2 << 8 | 4 + 1, length: 1)],
            [ByteRun(start: 101, length: 0)], [ByteRun(start: .max, length: 9)],
            [ByteRun(start: 101, length: 100), ByteRun(start: 99, length: 0)],
        ] {
            #expect(throws: FreeSpaceError.malformed) {
                var reader = VolumeStream.Reader()
                for run in wrong { try reader.take(run) }
            }
        }
        var cut = VolumeStream.Reader()
        for run in runs.dropLast() { try cut.take(run) }
        #expect(!cut.isWhole)
    }
}
