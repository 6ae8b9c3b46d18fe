import CZstd
import MigrationCore

/// Measures by a sample how well bytes can be compressed.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class Compressibility: @unchecked Sendable {
    private static let sampleBytes = 16 << 10
    private static let interval = 512 << 10
    private static let level: Int32 = 1

    private let context: OpaquePointer
    private let room: BlockBuffer

    /// - Throws: `ZstdError`.
    init() throws {
        guard let context = ZSTD_createCCtx() else { throw ZstdError(reason: "out of memory") }
        self.context = context
        room = BlockBuffer(byteCount: ZSTD_compressBound(Self.sampleBytes))
    }

    deinit { ZSTD_freeCCtx(context) }

    /// Samples of blocks, which `bytes` are one after the other.
    func samples(of bytes: UnsafeRawBufferPointer, blocks: [UInt64], blockSize: Int) -> CompressionSamples {
        CompressionSamples(
            samples: stride(from: 0, to: bytes.count, by: Self.interval).map { start in
                let end = min(start + Self.sampleBytes, bytes.count)
                return CompressionSamples.Sample(
                    blocks: Array(blocks[start / blockSize..<(end + blockSize - 1) / blockSize]),
                    ratio: ratio(of: UnsafeRawBufferPointer(rebasing: bytes[start..<end])))
            })
    }

    private func ratio(of sample: UnsafeRawBufferPointer) -> Double {
        let size = ZSTD_compressCCtx(
            context, room.bytes.baseAddress, room.bytes.count, sample.baseAddress, sample.count, Self.level)
        return ZSTD_isError(size) == 0 ? Double(size) / Double(sample.count) : 1
    }
}
