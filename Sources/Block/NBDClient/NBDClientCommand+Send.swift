import CLibNBD

extension NBDClientCommand {
    private static let zeros = ZeroPage()
    /// Bytes of data in one command: a server that was not asked for its limits must accept them.
    private static let longestData: UInt64 = 32 << 20
    /// Bytes that one command without data covers.
    private static let longestRange: UInt64 = 1 << 30

    /// Sends the next command of the request.
    /// - Returns: the command's cookie, or -1 with libnbd's error.
    func send(on handle: OpaquePointer, _ traits: NBDClientTraits, _ durability: NBDClientDurability) -> Int64 {
        let offset = request.pointee.offset + UInt64(request.pointee.progress)
        let left = request.pointee.length - UInt64(request.pointee.progress)
        let isForced = request.pointee.isForcedUnitAccess && traits.canForceUnitAccess
        var flags: UInt32 = isForced ? UInt32(LIBNBD_CMD_FLAG_FUA) : 0
        piece = min(left, request.pointee.kind.carriesData ? Self.longestData : Self.longestRange)
        switch (request.pointee.stage, request.pointee.kind) {
        case (.makeDurable, _), (_, .flush):
            flushMark = durability.beginFlush()
            return nbd_aio_flush(handle, completion(), 0)
        case (.zeroFill, _):
            piece = min(left, UInt64(ZeroPage.count))
            return nbd_aio_pwrite(handle, Self.zeros.bytes, Int(piece), offset, completion(), flags)
        case (_, .read):
            received = 0
            return nbd_aio_pread_structured(
                handle, request.pointee.buffer! + request.pointee.progress, Int(piece), offset, chunks(), completion(),
                0)
        case (_, .write):
            return nbd_aio_pwrite(
                handle, request.pointee.buffer! + request.pointee.progress, Int(piece), offset, completion(), flags)
        case (_, .trim):
            return nbd_aio_trim(handle, piece, offset, completion(), flags)
        case (_, .writeZeroes):
            if !request.pointee.mayPunchHole { flags |= UInt32(LIBNBD_CMD_FLAG_NO_HOLE) }
            if request.pointee.mustBeFast { flags |= UInt32(LIBNBD_CMD_FLAG_FAST_ZERO) }
            return nbd_aio_zero(handle, piece, offset, completion(), flags)
        case (_, .cache):
            return nbd_aio_cache(handle, piece, offset, completion(), 0)
        case (_, .status):
            return nbd_aio_block_status(handle, piece, offset, extents(), completion(), 0)
        }
    }
}
