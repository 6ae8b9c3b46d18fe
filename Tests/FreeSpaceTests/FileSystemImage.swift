import Foundation
import TestSupport

/// A disk image with a real file system, and what the file system's own tools say is free.
struct FileSystemImage {
    let path: String
    /// The offset of the file system, in bytes.
    let start: UInt64
    /// Free bytes of the disk, each run; ascending.
    let free: [Range<UInt64>]

    /// The partition of `partitioned` images. Bytes.
    static let partition: Range<UInt64> = 1 << 20..<97 << 20
    private static let diskSize = 100 << 20

    static func succeed(_ program: String, _ arguments: [String]) async throws -> String {
        let result = try await Command.run(program, arguments)
        guard result.status == 0 else { throw Failure(reason: "\(program) \(arguments): \(result)") }
        return result.output
    }

    struct Failure: Error { let reason: String }

    /// An empty disk with one partition.
    static func partitioned(_ label: String, _ scratch: Scratch) async throws -> String {
        let path = try scratch.hole(diskSize, "\(label).raw")
        let table = try scratch.write(Array("label: \(label)\nstart=1MiB, size=96MiB, type=L\n".utf8), to: "table")
        _ = try await succeed("/bin/sh", ["-c", "/usr/sbin/sfdisk --quiet \(path) < \(table)"])
        return path
    }

    /// An ext2, ext3 or ext4 in which files were made and some deleted again.
    /// - Parameter options: of mke2fs.
    static func ext(_ options: [String], label: String?, _ scratch: Scratch) async throws -> FileSystemImage {
        let path = try await label == nil ? scratch.hole(96 << 20, "disk.raw") : partitioned(label!, scratch)
        let start: UInt64 = label == nil ? 0 : partition.lowerBound
        _ = try await succeed(
            "/usr/sbin/mke2fs", ["-q", "-F"] + options + ["-E", "offset=\(start)", path, "\(96 << 10)k"])
        var script = ""
        for file in 0..<24 {
            let name = try scratch.write(
                [UInt8](repeating: UInt8(file + 1), count: (file % 5 + 1) * 100_000), to: "file\(file)")
            script += "write \(name) file\(file)\n"
        }
        for file in stride(from: 0, to: 24, by: 3) { script += "rm file\(file)\n" }
        let commands = try scratch.write(Array(script.utf8), to: "commands")
        _ = try await succeed("/usr/sbin/debugfs", ["-w", "-f", commands, "\(path)?offset=\(start)"])
        let said = try await succeed("/usr/sbin/dumpe2fs", ["\(path)?offset=\(start)"])
        return FileSystemImage(path: path, start: start, free: parseDumpe2fs(said, start))
    }

    private static func parseDumpe2fs(_ said: String, _ start: UInt64) -> [Range<UInt64>] {
        let lines = said.split(separator: "\n")
        let size = UInt64(lines.first { $0.hasPrefix("Block size:") }!.split(separator: " ").last!)!
        // dumpe2fs ends a run of clusters with the first block of its last cluster.
        let cluster = lines.first { $0.hasPrefix("Cluster size:") }.map { UInt64($0.split(separator: " ").last!)! }
        return lines.filter { $0.hasPrefix("  Free blocks:") }.flatMap { line in
            line.dropFirst(14).split(separator: ",").compactMap { run -> Range<UInt64>? in
                let ends = run.split(separator: "-").compactMap { UInt64($0.drop { $0 == " " }) }
                guard let first = ends.first, let last = ends.last else { return nil }
                return start + first * size..<start + last * size + (cluster ?? size)
            }
        }
    }

    /// An XFS; files are made and deleted where a loop device is possible.
    static func xfs(_ options: [String], _ scratch: Scratch) async throws -> FileSystemImage {
        let path = try scratch.hole(320 << 20, "disk.raw")
        _ = try await succeed("/usr/sbin/mkfs.xfs", ["-q", "-f"] + options + [path])
        // Some kernels refuse to mount the format of version 4.
        if LoopDevice.isPossible, !options.contains("crc=0") { try await fragment(path, scratch) }
        let said = try await succeed(
            "/usr/sbin/xfs_db", ["-r", "-f", "-c", "sb 0", "-c", "p blocksize agblocks agcount", path])
        let numbers = said.split(separator: "\n").map { UInt64($0.split(separator: " ").last!)! }
        // XFS keeps blocks for its own trees in a list of each group, which xfs_db counts as free.
        var kept: [UInt64: Int] = [:]
        for group in 0..<numbers[2] {
            let said = try await succeed(
                "/usr/sbin/xfs_db", ["-r", "-f", "-c", "agf \(group)", "-c", "p flcount", path])
            kept[group] = Int(said.split(separator: " ").last!.dropLast())!
        }
        let free = try await succeed("/usr/sbin/xfs_db", ["-r", "-f", "-c", "freesp -d", path])
        let runs = free.split(separator: "\n").compactMap { line -> Range<UInt64>? in
            let fields = line.split(separator: " ").compactMap { UInt64($0) }
            guard fields.count == 3, line.split(separator: " ").count == 3 else { return nil }
            if let left = kept[fields[0]], left > 0 {
                kept[fields[0]] = left - 1
                return nil
            }
            let first = (fields[0] * numbers[1] + fields[1]) * numbers[0]
            return first..<first + fields[2] * numbers[0]
        }
        return FileSystemImage(path: path, start: 0, free: runs.sorted { $0.lowerBound < $1.lowerBound })
    }

    /// Leaves so many holes that the trees of free space have several leaves.
    private static func fragment(_ path: String, _ scratch: Scratch) async throws {
        let folder = scratch.file("mount")
        let script = """
            set -e
            mkdir \(folder)
            mount -o loop,nodiscard \(path) \(folder)
            trap 'umount \(folder)' EXIT
            for file in $(seq 3000); do head -c 6000 /dev/zero > \(folder)/$file; done
            sync
            for file in $(seq 1 2 3000); do rm \(folder)/$file; done
            """
        _ = try await succeed("/bin/sh", ["-c", script])
    }
}
