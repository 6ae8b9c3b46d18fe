import CZstd
import NIOCore

/// Unpacks the pieces of a `StreamCompressor`, in their order.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class StreamDecompressor: @unchecked Sendable {
    private let context: OpaquePointer

    /// - Throws: `ZstdError`.
    init() throws {
        guard let context = ZSTD_createDCtx() else { throw ZstdError(reason: "out of memory") }
        self.context = context
        try ZstdParameters.check(
            ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZstdParameters.windowLog))
    }

    deinit { ZSTD_freeDCtx(context) }

    /// Unpacks a piece that must fill `output` exactly: the peer's word for the length is not trusted.
    /// - Throws: `ZstdError`.
    func decompress(_ piece: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) throws {
        var source = ZSTD_inBuffer(src: piece.baseAddress, size: piece.count, pos: 0)
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        while source.pos < source.size {
            let before = (source.pos, target.pos)
            try ZstdParameters.check(ZSTD_decompressStream(context, &target, &source))
            guard (source.pos, target.pos) != before else {
                throw ZstdError(reason: "a piece holds more than its blocks")
            }
        }
        guard target.pos == target.size else { throw ZstdError(reason: "a piece holds less than its blocks") }
        guard try isEmpty() else { throw ZstdError(reason: "a piece holds more than its blocks") }
    }

    /// Whether the library has nothing more to give of what it was given.
    private func isEmpty() throws -> Bool {
        var spare: UInt8 = 0
        return try withUnsafeMutableBytes(of: &spare) { spare in
            var source = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
            var target = ZSTD_outBuffer(dst: spare.baseAddress, size: 1, pos: 0)
            try ZstdParameters.check(ZSTD_decompressStream(context, &target, &source))
            return target.pos == 0
        }
    }
}
