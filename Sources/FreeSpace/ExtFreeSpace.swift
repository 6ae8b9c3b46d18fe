import CExt2FS

/// Reads the free blocks of an ext2, ext3 or ext4 by libext2fs: its superblock, group descriptors and bitmaps.
struct ExtFreeSpace {
    let bytes: DiskBytes

    /// Calls `found` with each free extent, in bytes from the start of the file system, ascending.
    /// - Throws: `FreeSpaceError`, and what `found` throws.
    func forEach(_ found: (ByteRun) throws -> Void) throws {
        // A guest has it mounted: checksums and counts may be behind its bitmaps, and its journal is not replayed.
        let flags = EXT2_FLAG_64BITS | EXT2_FLAG_IGNORE_CSUM_ERRORS | EXT2_FLAG_SKIP_MMP | EXT2_FLAG_SOFTSUPP_FEATURES
        var opened: ext2_filsys?
        try check(
            ext2fs_open2(
                "/proc/self/fd/\(bytes.descriptor)", "offset=\(bytes.start)", flags, 0, 0, ext2fs_files(), &opened))
        guard let opened else { throw FreeSpaceError.malformed }
        defer { ext2fs_free(opened) }
        try check(ext2fs_read_block_bitmap(opened))
        guard let map = opened.pointee.block_map else { throw FreeSpaceError.malformed }
        let blockSize = UInt64(opened.pointee.blocksize)
        let end = ext2fs_blocks_count(opened.pointee.super)
        var block = UInt64(opened.pointee.super.pointee.s_first_data_block)
        while block < end {
            var first: blk64_t = 0
            guard ext2fs_find_first_zero_block_bitmap2(map, block, end - 1, &first) == 0 else { return }
            var next: blk64_t = 0
            if ext2fs_find_first_set_block_bitmap2(map, first, end - 1, &next) != 0 { next = end }
            guard first >= block, next > first else { throw FreeSpaceError.malformed }
            let (start, isFar) = first.multipliedReportingOverflow(by: blockSize)
            let (length, isLong) = (next - first).multipliedReportingOverflow(by: blockSize)
            guard !isFar, !isLong else { throw FreeSpaceError.malformed }
            try found(ByteRun(start: start, length: length))
            block = next
        }
    }

    private func check(_ error: errcode_t) throws {
        if error != 0 { throw FreeSpaceError.refused(Int(error)) }
    }
}
