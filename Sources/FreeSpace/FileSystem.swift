import CBlkid

/// A file system on a disk: where it is, and of which kind.
struct FileSystem {
    /// The kinds whose free blocks can be told.
    enum Kind: String, CaseIterable {
        case ext2, ext3, ext4, xfs, ntfs, btrfs
    }

    /// The most partitions that are looked at.
    private static let mostPartitions = 128
    /// libblkid counts in these, whatever the disk's sectors are. Bytes.
    private static let sector: Int64 = 512

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
        parts(of: descriptor).compactMap { bytes in
            content(of: bytes).kind.map { FileSystem(kind: $0, bytes: bytes) }
        }
    }

    /// The partitions of an open disk, or all of it if there are none; nothing of a disk that can't be read.
    static func parts(of descriptor: CInt) -> [DiskBytes] {
        guard let probe = probe(descriptor, start: 0, size: 0) else { return [] }
        defer { blkid_free_probe(probe) }
        let size = Int64(blkid_probe_get_size(probe))
        guard size > 0 else { return [] }
        let partitions = partitions(probe)
        let places = partitions.isEmpty ? [(start: Int64(0), size: size)] : partitions
        return places.compactMap { place in
            guard place.start >= 0, place.size > 0, place.start < size else { return nil }
            return DiskBytes(
                descriptor: descriptor, start: UInt64(place.start),
                size: UInt64(min(place.size, size - place.start)))
        }
    }

    /// Types of partitions that hold several volumes, whose parts need not follow each other. They are dynamic disks of
    /// Windows (MBR; metadata and data of GPT), and storage spaces.
    private static let dynamicTypes = (
        number: CInt(0x42),
        texts: [
            "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "af9b60a0-1431-4f62-bc68-3311714a69ad",
            "e75caf8f-f680-4cee-afa3-b001e56efc2d",
        ]
    )

    /// Whether a partition of an open disk is one of a dynamic disk.
    static func hasDynamicDisk(_ descriptor: CInt) -> Bool {
        guard let probe = probe(descriptor, start: 0, size: 0) else { return false }
        defer { blkid_free_probe(probe) }
        return listed(probe).contains { partition in
            let text = blkid_partition_get_type_string(partition).map { String(cString: $0).lowercased() }
            return blkid_partition_get_type(partition) == dynamicTypes.number
                || text.map(dynamicTypes.texts.contains) == true
        }
    }

    /// - Parameter size: bytes; 0 for the rest of the disk.
    private static func probe(_ descriptor: CInt, start: Int64, size: Int64) -> blkid_probe? {
        guard let probe = blkid_new_probe() else { return nil }
        guard blkid_probe_set_device(probe, descriptor, blkid_loff_t(start), blkid_loff_t(size)) == 0 else {
            blkid_free_probe(probe)
            return nil
        }
        return probe
    }

    /// The entries of the partition table, which belong to the probe; none if there is no table.
    private static func listed(_ probe: blkid_probe) -> [blkid_partition] {
        blkid_probe_enable_superblocks(probe, 0)
        blkid_probe_enable_partitions(probe, 1)
        guard let list = blkid_probe_get_partitions(probe) else { return [] }
        return (0..<max(0, blkid_partlist_numof_partitions(list))).compactMap {
            blkid_partlist_get_partition(list, $0)
        }
    }

    private static func partitions(_ probe: blkid_probe) -> [(start: Int64, size: Int64)] {
        listed(probe).prefix(mostPartitions).compactMap { partition in
            // One that holds others, which are listed too.
            guard blkid_partition_is_extended(partition) == 0 else { return nil }
            let (start, startIsFar) = Int64(blkid_partition_get_start(partition)).multipliedReportingOverflow(
                by: sector)
            let (size, isLong) = Int64(blkid_partition_get_size(partition)).multipliedReportingOverflow(by: sector)
            return startIsFar || isLong ? nil : (start, size)
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
        guard let probe = probe(bytes.descriptor, start: Int64(bytes.start), size: Int64(bytes.size)) else {
            return .other
        }
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
