import NIOCore

/// Blocks, and the next piece of the connection's one zstd stream. Their bytes come behind those of all blocks named
/// before, and are all in this piece. If both sides have `latePieces`, they may be in later pieces of the same round,
/// which need not name any block.
public struct DataSegment: Sendable, Equatable {
    /// The most bytes of blocks in one message.
    package static let maximumBytes = 512 << 10

    /// Messages whose blocks may be named before their bytes come.
    package static let mostAwaited = 1024

    package var runs: [BlockRange]
    package var compressed: ByteBuffer

    package init(runs: [BlockRange], compressed: ByteBuffer) {
        self.runs = runs
        self.compressed = compressed
    }

    /// The same segment, in as many messages as it takes.
    /// - Parameter length: the most bytes of the stream in one message.
    package func messages(of length: Int) -> [DataSegment] {
        var (rest, segments) = (compressed, [DataSegment]())
        repeat {
            let piece = rest.readSlice(length: min(rest.readableBytes, length))!
            segments.append(DataSegment(runs: segments.isEmpty ? runs : [], compressed: piece))
        } while rest.readableBytes > 0
        return segments
    }
}
