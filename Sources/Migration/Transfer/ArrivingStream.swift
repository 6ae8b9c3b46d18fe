import Block
import Glibc
import MigrationProtocol
import NIOCore

/// Receives a `DataStream`: the names of blocks, and their bytes in the same order, some messages later.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class ArrivingStream: @unchecked Sendable {
    private struct Named {
        let runs: [BlockRange]
        let byteCount: Int
    }

    private let blockSize: Int
    private let decompressor: StreamDecompressor
    private let buffer: BlockBuffer
    private var named = CircularBuffer<Named>()
    /// Bytes of the first of them that have come.
    private var filled = 0

    /// - Throws: `ZstdError`.
    init(blockSize: Int) throws {
        self.blockSize = blockSize
        decompressor = try StreamDecompressor()
        buffer = BlockBuffer(byteCount: DataSegment.maximumBytes + blockSize)
    }

    /// Lets blocks refer to `prefix`, as if its bytes stood before them.
    func use(_ prefix: StreamPrefix) { decompressor.use(prefix) }

    /// The blocks whose bytes have not come yet, as they were named.
    var awaited: [Range<UInt64>] { named.flatMap { $0.runs.map { $0.first..<$0.first + $0.count } } }

    /// Unpacks a message, and stores the blocks that are whole now.
    /// - Parameters:
    ///   - byteCount: of the blocks that it names, which must be within the disk; at most `DataSegment.maximumBytes`.
    ///   - store: receives blocks that were named together, and all of their bytes. A block of zeros follows in the buffer.
    /// - Throws: `MigrationError.unexpected`, `ZstdError`; what `store` throws.
    func unpack(
        _ segment: DataSegment, byteCount: Int, _ store: (_ runs: [BlockRange], _ bytes: BlockBuffer) throws -> Void
    ) throws {
        precondition(byteCount <= DataSegment.maximumBytes)
        if byteCount > 0 { named.append(Named(runs: segment.runs, byteCount: byteCount)) }
        guard named.count <= DataSegment.mostAwaited else {
            throw MigrationError.unexpected("blocks are named whose bytes do not come")
        }
        try segment.compressed.withUnsafeReadableBytes { piece in
            var piece = piece
            while let first = named.first {
                filled += try decompressor.decompress(
                    from: &piece, into: buffer.slice(filled, first.byteCount - filled))
                guard filled == first.byteCount else { return }
                memset(buffer.bytes.baseAddress! + filled, 0, blockSize)
                try store(first.runs, buffer)
                named.removeFirst()
                filled = 0
            }
            try decompressor.end(piece)
        }
    }

    /// Ends a round.
    /// - Throws: `MigrationError.unexpected` if bytes of named blocks are missing.
    func endRound() throws {
        guard named.isEmpty else { throw MigrationError.unexpected("the bytes of blocks have not come") }
    }
}
