import CExt2FS

/// Reads the free blocks of an ext2, ext3 or ext4 by libext2fs: its superblock, group descriptors and bitmaps.
struct ExtFreeSpace: FreeSpaceSource {
    /// A guest has it mounted: checksums and counts may be behind its bitmaps, and its journal is not replayed.
    private static let lenient = EXT2_FLAG_IGNORE_CSUM_ERRORS | EXT2_FLAG_SKIP_MMP | EXT2_FLAG_SOFTSUPP_FEATURES
    /// A journal on another device, and protection against a second mount.
    private static let unsupported = UInt32(EXT3_FEATURE_INCOMPAT_JOURNAL_DEV | EXT4_FEATURE_INCOMPAT_MMP)
    /// Snapshots, and blocks that several files share: both are of Android and Next3.
    private static let unsupportedReadOnly: UInt32 = 0x80 | 0x4000
    /// Inodes in the file of orphans, which the next mount deletes.
    private static let orphans: UInt32 = 0x10000

    let bytes: DiskBytes
    /// Whether checksums and counts must fit, and no feature may be half known.
    let isExact: Bool

    func checkIsClean() throws {
        try withOpened { opened in
            let superblock = opened.pointee.super.pointee
            let state = Int32(superblock.s_state)
            guard superblock.s_feature_incompat & Self.unsupported == 0,
                superblock.s_feature_ro_compat & Self.unsupportedReadOnly == 0
            else { throw FreeSpaceError.unsupported }
            guard state & EXT2_VALID_FS != 0, state & EXT2_ERROR_FS == 0,
                superblock.s_feature_incompat & UInt32(EXT3_FEATURE_INCOMPAT_RECOVER) == 0,
                superblock.s_last_orphan == 0, superblock.s_feature_ro_compat & Self.orphans == 0
            else { throw FreeSpaceError.notClean }
        }
    }

    func forEach(_ found: (ByteRun) throws -> Void) throws {
        try withOpened { opened in
            try check(ext2fs_read_block_bitmap(opened))
            guard let map = opened.pointee.block_map else { throw FreeSpaceError.malformed }
            let blockSize = UInt64(opened.pointee.blocksize)
            let end = ext2fs_blocks_count(opened.pointee.super)
            var block = UInt64(opened.pointee.super.pointee.s_first_data_block)
            var total: UInt64 = 0
            while block < end {
                var first: blk64_t = 0
                guard ext2fs_find_first_zero_block_bitmap2(map, block, end - 1, &first) == 0 else { break }
                var next: blk64_t = 0
                if ext2fs_find_first_set_block_bitmap2(map, first, end - 1, &next) != 0 { next = end }
                guard first >= block, next > first else { throw FreeSpaceError.malformed }
                let (start, isFar) = first.multipliedReportingOverflow(by: blockSize)
                let (length, isLong) = (next - first).multipliedReportingOverflow(by: blockSize)
                guard !isFar, !isLong else { throw FreeSpaceError.malformed }
                try found(ByteRun(start: start, length: length))
                total += next - first
                block = next
            }
            if isExact { try check(total, opened) }
        }
    }

    /// Compares the free blocks of the bitmaps with the counts of the groups. Clusters of more than a block count otherwise.
    private func check(_ total: UInt64, _ opened: ext2_filsys) throws {
        guard opened.pointee.cluster_ratio_bits == 0 else { return }
        let counted = (0..<opened.pointee.group_desc_count).reduce(0 as UInt64) {
            $0 + UInt64(ext2fs_bg_free_blocks_count(opened, $1))
        }
        guard counted == total else { throw FreeSpaceError.malformed }
    }

    private func withOpened(_ body: (ext2_filsys) throws -> Void) throws {
        let flags = EXT2_FLAG_64BITS | (isExact ? 0 : Self.lenient)
        var opened: ext2_filsys?
        try check(
            ext2fs_open2(
                "/proc/self/fd/\(bytes.descriptor)", "offset=\(bytes.start)", flags, 0, 0, ext2fs_files(), &opened))
        guard let opened else { throw FreeSpaceError.malformed }
        defer { ext2fs_free(opened) }
        try body(opened)
    }

    private func check(_ error: errcode_t) throws {
        if error != 0 { throw FreeSpaceError.refused(Int(error)) }
    }
}
