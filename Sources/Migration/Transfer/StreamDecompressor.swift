import CZstd
import NIOCore

/// Unpacks the pieces of a `DataStream`, in their order.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class StreamDecompressor: @unchecked Sendable {
    private let context: OpaquePointer
    /// Whether the library may hold bytes for which there was no room. It reports an error if it is called without progress a
    /// few times.
    private var mayHoldMore = false
    /// Whether the next byte begins a frame.
    private var isAtStart = true
    /// The bytes to which each frame may refer; nil for none.
    private var prefix: StreamPrefix?
    private var isWindowRaised = false

    /// - Parameter windowLog: the distance of the peer's references, as a power of two; the library may take that much memory.
    /// - Throws: `ZstdError`.
    init(windowLog: Int32 = ZstdParameters.windowLog) throws {
        guard let context = ZSTD_createDCtx() else { throw ZstdError(reason: "out of memory") }
        self.context = context
        try ZstdParameters.check(
            ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, windowLog))
    }

    deinit { ZSTD_freeDCtx(context) }

    /// Unpacks a piece that must fill `output` exactly: the length that the peer gives is not trusted.
    /// - Throws: `ZstdError`.
    func decompress(_ piece: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) throws {
        var piece = piece
        guard try decompress(from: &piece, into: output) == output.count else {
            throw ZstdError(reason: "a piece holds less than its blocks")
        }
        try end(piece)
    }

    /// Unpacks as much of a piece, and of the rest of earlier ones, as there is or as `output` takes.
    /// - Parameter piece: the rest of it, before and after.
    /// - Returns: the bytes written to `output`.
    /// - Throws: `ZstdError`.
    func decompress(
        from piece: inout UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws -> Int {
        var source = ZSTD_inBuffer(src: piece.baseAddress, size: piece.count, pos: 0)
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        while target.pos < target.size, source.pos < source.size || mayHoldMore {
            if isAtStart { try referToPrefix() }
            isAtStart = try ZstdParameters.check(ZSTD_decompressStream(context, &target, &source)) == 0
            mayHoldMore = target.pos == target.size
        }
        piece = UnsafeRawBufferPointer(rebasing: piece[source.pos...])
        return target.pos
    }

    /// Lets the next frame and all later ones refer to `prefix`. A frame that does not is read as before.
    func use(_ prefix: StreamPrefix) { self.prefix = prefix }

    /// The library forgets a prefix with each frame.
    private func referToPrefix() throws {
        guard let prefix else { return }
        if !isWindowRaised {
            try ZstdParameters.check(
                ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZstdParameters.prefixWindowLog))
            isWindowRaised = true
        }
        try ZstdParameters.check(ZSTD_DCtx_refPrefix(context, prefix.bytes.baseAddress, prefix.bytes.count))
    }

    /// Takes the end of a piece, behind the last byte that is expected.
    /// - Throws: `ZstdError` if more bytes follow.
    func end(_ piece: UnsafeRawBufferPointer) throws {
        var piece = piece
        var spare: UInt8 = 0
        let more = try withUnsafeMutableBytes(of: &spare) { try decompress(from: &piece, into: $0) }
        guard more == 0 else { throw ZstdError(reason: "a piece holds more than its blocks") }
    }
}
