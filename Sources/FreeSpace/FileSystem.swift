import CBlkid

/// A file system on a disk: where it is, and of which kind.
struct FileSystem {
    /// The kinds whose free blocks can be told.
    enum Kind: String, CaseIterable {
        case ext2, ext3, ext4, xfs, ntfs, btrfs
    }

    /// The name that libblkid has for the memory of a Linux that sleeps.
    private static let sleeping = "swsuspend"

    let kind: Kind
    let bytes: DiskBytes

    /// Reads the file system.
    /// - Parameter isExact: Whether checksums and counts must fit. Those of a mounted one may not.
    /// - Throws: `FreeSpaceError`.
    func freeSpace(isExact: Bool) throws -> any FreeSpaceSource {
        switch kind {
        case .ext2, .ext3, .ext4: ExtFreeSpace(bytes: bytes, isExact: isExact)
        case .xfs: try XFSFreeSpace(bytes, isExact: isExact)
        case .ntfs: try NTFSFreeSpace(bytes)
        case .btrfs: try BtrfsFreeSpace(bytes, isExact: isExact)
        }
    }

    /// Finds the file systems of an open disk by libblkid: on its partitions (GPT, MBR), or on all of it.
    static func find(on descriptor: CInt) -> [FileSystem] {
        PartitionTable(of: descriptor).parts.compactMap { bytes in
            content(of: bytes).kind.map { FileSystem(kind: $0, bytes: bytes) }
        }
    }

    /// The content of a part of a disk.
    enum Content: Equatable {
        case fileSystem(Kind)
        /// A Linux that sleeps, and will go on where it was.
        case sleeping
        /// Nothing that libblkid knows.
        case nothing
        /// Something else, or several things at once.
        case other

        var kind: Kind? {
            guard case .fileSystem(let kind) = self else { return nil }
            return kind
        }
    }

    /// Finds out what stands in a part of a disk, or on all of it.
    static func content(of bytes: DiskBytes) -> Content {
        guard let probe = bytes.probe() else { return .other }
        defer { blkid_free_probe(probe) }
        blkid_probe_enable_partitions(probe, 0)
        blkid_probe_enable_superblocks(probe, 1)
        blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE)
        var value: UnsafePointer<CChar>?
        let result = blkid_do_safeprobe(probe)
        if result == 1 { return .nothing }
        // Two different ones on the same bytes are none.
        guard result == 0, blkid_probe_lookup_value(probe, "TYPE", &value, nil) == 0, let value else { return .other }
        let type = String(cString: value)
        return type == sleeping ? .sleeping : Kind(rawValue: type).map { .fileSystem($0) } ?? .other
    }
}
