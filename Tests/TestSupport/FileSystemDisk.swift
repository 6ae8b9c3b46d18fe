import Foundation

/// A disk image with one partition, in whose real file system files were made and some deleted again. It was unmounted cleanly.
package struct FileSystemDisk {
    /// The file systems, with the size of their clusters where it matters.
    package enum Kind: String, CaseIterable, Sendable {
        case ext4, xfs, btrfs, ntfs, ntfs512

        /// As libblkid calls it.
        package var name: String { self == .ntfs512 ? "ntfs" : rawValue }

        fileprivate var isNTFS: Bool { name == "ntfs" }

        fileprivate var make: String {
            switch self {
            case .ext4: "/usr/sbin/mke2fs -q -F -t ext4 -b 4096 \"$1\""
            case .xfs: "/usr/sbin/mkfs.xfs -q -f \"$1\""
            case .btrfs: "/usr/sbin/mkfs.btrfs -q -f \"$1\""
            case .ntfs: "/usr/sbin/mkntfs -q -F -Q -c 4096 -p 2048 -H 255 -S 63 -s 512 \"$1\""
            case .ntfs512: "/usr/sbin/mkntfs -q -F -Q -c 512 -p 2048 -H 255 -S 63 -s 512 \"$1\""
            }
        }

        fileprivate var check: String {
            switch self {
            case .ext4: "/usr/sbin/e2fsck -f -n \"$1\""
            case .xfs: "/usr/sbin/xfs_repair -f -n \"$1\""
            // It does not look at the copy of the superblock.
            case .btrfs:
                """
                /usr/bin/btrfs check --readonly --check-data-csum "$1" &&
                    /usr/bin/btrfs inspect-internal dump-super -s 1 "$1" | grep -F '[match]'
                """
            case .ntfs, .ntfs512: "/usr/bin/ntfsfix -n \"$1\""
            }
        }
    }

    package struct Failure: Error { let reason: String }

    /// First byte of the partition.
    package static let start = 1 << 20
    /// Bytes of the partition: the smallest that mkfs.xfs makes.
    package static let size = 304 << 20

    package let kind: Kind
    package let path: String
    private let scratch: Scratch

    /// Functions for scripts: mounting with or without a loop device, and what stands where.
    private static func functions(_ kind: Kind) -> String {
        """
        set -e
        make() { \(kind.make) >/dev/null; }
        check() { \(kind.check) >/dev/null; }
        attach() { \(kind.isNTFS ? "ntfs-3g -o $3 \"$1\" \"$2\"" : "mount -o loop,nodiscard,$3 \"$1\" \"$2\""); }
        detach() { sync -f "$1"; umount "$1"; }

        """
    }

    /// Makes a disk.
    /// - Parameter copied: A script that runs in the mounted file system, and after which the partition is copied as it is then; nil to
    ///   unmount it first.
    package init(_ kind: Kind, _ scratch: Scratch, copyMounted copied: String? = nil) async throws {
        self.kind = kind
        self.scratch = scratch
        path = scratch.file("disk.raw")
        let script =
            Self.functions(kind) + """
                cd \(scratch.path)
                truncate -s \(Self.size) fs.raw
                make fs.raw
                mkdir -p mount
                # btrfs commits every 30 s, which a loaded machine takes for a copy.
                attach fs.raw mount \(kind == .btrfs ? "rw,commit=600" : "rw")
                trap 'cd /; umount -l \(scratch.path)/mount 2>/dev/null || true' EXIT
                mkdir mount/kept mount/gone
                for file in $(seq 40); do head -c $((file * 7919)) /dev/urandom > mount/kept/$file
                    head -c $((file * 30011)) /dev/urandom > mount/gone/$file; done
                head -c 20000000 /dev/urandom > mount/gone/large
                sync -f mount
                rm -r mount/gone
                (cd mount/kept; sha256sum *) > sums
                \(copied.map { "(cd mount; \($0)); cp --sparse=always fs.raw copy.raw" } ?? "")
                detach mount
                trap - EXIT
                truncate -s \(Self.size + 2 * Self.start) disk.raw
                printf 'label: gpt\\nstart=1MiB, size=\(Self.size >> 20)MiB\\n' | /usr/sbin/sfdisk --quiet disk.raw
                dd if=\(copied == nil ? "fs" : "copy").raw of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none
                rm -f fs.raw copy.raw
                """
        try await Self.run(script)
    }

    /// Checks by the file system's own tools that it is sound, and that all files are as they were.
    /// - Throws: If they are not.
    package func check() async throws {
        let script =
            Self.functions(kind) + """
                cd \(scratch.path)
                dd if=disk.raw of=after.raw bs=1M skip=1 count=\(Self.size >> 20) conv=sparse status=none
                truncate -s \(Self.size) after.raw
                check after.raw
                mkdir -p mount
                attach after.raw mount ro
                trap 'umount mount' EXIT
                (cd mount/kept; sha256sum --quiet -c ../../sums)
                """
        try await Self.run(script)
    }

    /// Bytes of the file that are stored.
    package var allocated: Int {
        var info = stat()
        return stat(path, &info) == 0 ? Int(info.st_blocks) * 512 : -1
    }

    /// Changes bytes of the partition.
    package func write(_ bytes: [UInt8], at offset: Int) throws {
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try file.seek(toOffset: UInt64(Self.start + offset))
        try file.write(contentsOf: bytes)
        try file.close()
    }

    /// Bytes of the partition.
    package func read(at offset: Int, count: Int) throws -> [UInt8] {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        try file.seek(toOffset: UInt64(Self.start + offset))
        defer { try? file.close() }
        return Array(try file.read(upToCount: count) ?? Data())
    }

    private static func run(_ script: String) async throws {
        let result = try await Command.run("/bin/bash", ["-c", script])
        guard result.status == 0 else { throw Failure(reason: "\(result.errors) \(result.output)") }
    }
}
