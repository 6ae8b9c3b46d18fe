import CZstd
import NIOCore

/// One long zstd stream, cut into pieces that can each be unpacked as soon as they arrive.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class StreamCompressor: @unchecked Sendable {
    private let context: OpaquePointer
    private var level: Int32
    /// What a piece may come to at most takes much more room than what most come to.
    private var room = ByteBuffer()

    /// - Throws: `ZstdError`.
    init(level: Int32, windowLog: Int32 = ZstdParameters.windowLog) throws {
        guard let context = ZSTD_createCCtx() else { throw ZstdError(reason: "out of memory") }
        self.context = context
        self.level = level
        try ZstdParameters.check(
            ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level))
        try ZstdParameters.check(ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, windowLog))
        try ZstdParameters.check(
            ZSTD_CCtx_setParameter(
                context, ZSTD_c_enableLongDistanceMatching, windowLog == ZstdParameters.windowLog ? 1 : 0))
    }

    deinit { ZSTD_freeCCtx(context) }

    /// The next piece of the stream, holding all of `bytes`. With another level than the one before it begins a frame, as
    /// zstd has one level for each, which does not look back at what came before.
    /// - Throws: `ZstdError`.
    func compress(_ bytes: UnsafeRawBufferPointer, level: Int32) throws -> ByteBuffer {
        room.clear(minimumCapacity: ZSTD_compressBound(bytes.count) + 64)
        if level != self.level {
            try write(UnsafeRawBufferPointer(start: nil, count: 0), ZSTD_e_end)
            try ZstdParameters.check(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level))
            self.level = level
        }
        try write(bytes, ZSTD_e_flush)
        return ByteBuffer(bytes: room.readableBytesView)
    }

    private func write(_ bytes: UnsafeRawBufferPointer, _ end: ZSTD_EndDirective) throws {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var left = 1
        while left > 0 {
            try room.writeWithUnsafeMutableBytes(minimumWritableBytes: 1 << 16) { out in
                var output = ZSTD_outBuffer(dst: out.baseAddress, size: out.count, pos: 0)
                left = try ZstdParameters.check(ZSTD_compressStream2(context, &output, &input, end))
                return output.pos
            }
        }
    }
}
