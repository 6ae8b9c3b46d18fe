import CBlkid

/// The partitions of an open disk, as one look of libblkid finds them (GPT, MBR).
struct PartitionTable {
    /// The most partitions that are looked at.
    private static let mostPartitions = 128
    /// libblkid counts in these, whatever the disk's sectors are. Bytes.
    private static let sector: Int64 = 512
    /// Types of partitions that hold several volumes, whose parts need not follow each other. They are dynamic disks of
    /// Windows (MBR; metadata and data of GPT), and storage spaces.
    private static let dynamicTypes = (
        number: CInt(0x42),
        texts: [
            "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "af9b60a0-1431-4f62-bc68-3311714a69ad",
            "e75caf8f-f680-4cee-afa3-b001e56efc2d",
        ]
    )

    /// The partitions, or all of the disk if there are none; nothing of a disk that can't be read.
    let parts: [DiskBytes]
    /// Whether a partition is one of a dynamic disk.
    let hasDynamicDisk: Bool

    init(of descriptor: CInt) {
        let disk = DiskBytes(descriptor: descriptor, start: 0, size: 0)
        let probe = disk.probe()
        defer { probe.map { blkid_free_probe($0) } }
        guard let probe, case let size = Int64(blkid_probe_get_size(probe)), size > 0 else {
            (parts, hasDynamicDisk) = ([], false)
            return
        }
        let listed = Self.listed(probe)
        let partitions = listed.prefix(Self.mostPartitions).compactMap { Self.place(of: $0) }
        let places = partitions.isEmpty ? [(start: Int64(0), size: size)] : partitions
        parts = places.compactMap { place in
            guard place.start >= 0, place.size > 0, place.start < size else { return nil }
            return DiskBytes(
                descriptor: descriptor, start: UInt64(place.start),
                size: UInt64(min(place.size, size - place.start)))
        }
        hasDynamicDisk = listed.contains { Self.isDynamic($0) }
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

    /// Bytes of the disk; nil for a partition that holds others, which are listed too.
    private static func place(of partition: blkid_partition) -> (start: Int64, size: Int64)? {
        guard blkid_partition_is_extended(partition) == 0 else { return nil }
        let (start, startIsFar) = Int64(blkid_partition_get_start(partition)).multipliedReportingOverflow(by: sector)
        let (size, isLong) = Int64(blkid_partition_get_size(partition)).multipliedReportingOverflow(by: sector)
        return startIsFar || isLong ? nil : (start, size)
    }

    private static func isDynamic(_ partition: blkid_partition) -> Bool {
        let text = blkid_partition_get_type_string(partition).map { String(cString: $0).lowercased() }
        return blkid_partition_get_type(partition) == dynamicTypes.number
            || text.map(dynamicTypes.texts.contains) == true
    }
}

extension DiskBytes {
    /// A look of libblkid at these bytes; a size of 0 is the rest of the disk. The caller frees it. Nil if there can be none.
    func probe() -> blkid_probe? {
        guard let probe = blkid_new_probe() else { return nil }
        guard blkid_probe_set_device(probe, descriptor, blkid_loff_t(start), blkid_loff_t(size)) == 0 else {
            blkid_free_probe(probe)
            return nil
        }
        return probe
    }
}
