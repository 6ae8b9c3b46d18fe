import CZstd
import Glibc

/// How well bytes can be compressed, as a sample of them shows.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class Compressibility: @unchecked Sendable {
    private static let sampleBytes = 16 << 10
    private static let interval = 512 << 10
    private static let level: Int32 = 1
    /// What can be compressed at all gains more from a long window and the higher levels than a short sample shows. Measured
    /// on a Debian disk.
    private static let gain = 1.4

    private let context: OpaquePointer
    private let room: BlockBuffer

    /// - Throws: `ZstdError`.
    init() throws {
        guard let context = ZSTD_createCCtx() else { throw ZstdError(reason: "out of memory") }
        self.context = context
        room = BlockBuffer(byteCount: ZSTD_compressBound(Self.sampleBytes))
    }

    deinit { ZSTD_freeCCtx(context) }

    /// The size that they come to, by that which they have: more than 0, and little more than 1 at most.
    func ratio(of bytes: UnsafeRawBufferPointer) -> Double {
        var (before, after) = (0, 0)
        for start in stride(from: 0, to: bytes.count, by: Self.interval) {
            let sample = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + Self.sampleBytes, bytes.count)])
            let size = ZSTD_compressCCtx(
                context, room.bytes.baseAddress, room.bytes.count, sample.baseAddress, sample.count, Self.level)
            before += sample.count
            after += ZSTD_isError(size) == 0 ? size : sample.count
        }
        return before == 0 ? 1 : pow(Double(after) / Double(before), Self.gain)
    }
}
