import Hashing
import NIOCore

/// Bytes of a memory stream: `MemoryTokens` that describe them, and the bytes that are not found elsewhere.
public struct MemoryBatch: Sendable, Equatable {
    /// The most bytes of the stream in one batch. An ordinary frame has room for them even if they do not compress.
    package static let maximumBytes = 1 << 20
    /// The most bytes of tokens and literals together.
    package static let maximumPacked = maximumBytes + (64 << 10)

    /// Bytes of tokens, which stand first in the decompressed piece.
    package var tokenBytes: Int
    /// Bytes of the stream that follow them.
    package var literalBytes: Int
    /// The first half of the `StreamProof` after this batch.
    package var proof: Fingerprint
    /// The next piece of the connection's zstd stream. It decompresses to exactly the tokens and literals.
    package var compressed: ByteBuffer

    package init(tokenBytes: Int, literalBytes: Int, proof: Fingerprint, compressed: ByteBuffer) {
        self.tokenBytes = tokenBytes
        self.literalBytes = literalBytes
        self.proof = proof
        self.compressed = compressed
    }
}
