import CBlkid

/// A file system on a disk: where it is, and of which kind.
struct FileSystem {
    /// The kinds whose free blocks can be told.
    enum Kind: String, CaseIterable {
        case ext2, ext3, ext4, xfs
    }

    /// The most partitions that are looked at.
    private static let mostPartitions: CInt = 128
    /// libblkid counts in these, whatever the disk's sectors are. Bytes.
    private static let sector: Int64 = 512

    let kind: Kind
    let bytes: DiskBytes

    /// Finds the file systems of an open disk by libblkid: on its partitions (GPT, MBR), or on all of it.
    static func find(on descriptor: CInt) -> [FileSystem] {
        parts(of: descriptor).compactMap { bytes in
            kind(descriptor, start: Int64(bytes.start), size: Int64(bytes.size)).map {
                FileSystem(kind: $0, bytes: bytes)
            }
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

    /// - Parameter size: bytes; 0 for the rest of the disk.
    private static func probe(_ descriptor: CInt, start: Int64, size: Int64) -> blkid_probe? {
        guard let probe = blkid_new_probe() else { return nil }
        guard blkid_probe_set_device(probe, descriptor, blkid_loff_t(start), blkid_loff_t(size)) == 0 else {
            blkid_free_probe(probe)
            return nil
        }
        return probe
    }

    private static func partitions(_ probe: blkid_probe) -> [(start: Int64, size: Int64)] {
        blkid_probe_enable_superblocks(probe, 0)
        blkid_probe_enable_partitions(probe, 1)
        guard let list = blkid_probe_get_partitions(probe) else { return [] }
        return (0..<max(0, min(blkid_partlist_numof_partitions(list), mostPartitions))).compactMap { index in
            guard let partition = blkid_partlist_get_partition(list, index),
                // One that holds others, which are listed too.
                blkid_partition_is_extended(partition) == 0
            else { return nil }
            let (start, startIsFar) = Int64(blkid_partition_get_start(partition)).multipliedReportingOverflow(
                by: sector)
            let (size, isLong) = Int64(blkid_partition_get_size(partition)).multipliedReportingOverflow(by: sector)
            return startIsFar || isLong ? nil : (start, size)
        }
    }

    private static func kind(_ descriptor: CInt, start: Int64, size: Int64) -> Kind? {
        guard let probe = probe(descriptor, start: start, size: size) else { return nil }
        defer { blkid_free_probe(probe) }
        blkid_probe_enable_partitions(probe, 0)
        blkid_probe_enable_superblocks(probe, 1)
        blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE)
        var value: UnsafePointer<CChar>?
        // Two different ones on the same bytes are none.
        guard blkid_do_safeprobe(probe) == 0, blkid_probe_lookup_value(probe, "TYPE", &value, nil) == 0, let value
        else {
            return nil
        }
        return Kind(rawValue: String(cString: value))
    }
}
