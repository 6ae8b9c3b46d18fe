/// Computes fingerprints and SHA-256 digests. Keep one for each thread and use it again: making one costs more than
/// hashing a block.
public final class BlockHasher {
    private let stream = SHA256Stream()

    /// Makes a hasher for the calling thread.
    public init() {}

    /// The fingerprint of one whole block, `.zero` where all its bytes are zero.
    ///
    /// The caller fills a short tail block up with zeros first.
    public func fingerprint(_ block: UnsafeRawBufferPointer) -> Fingerprint {
        if isAllZero(block) { return .zero }
        stream.update(block)
        return withUnsafeTemporaryAllocation(byteCount: SHA256Stream.byteCount, alignment: 8) { digest in
            stream.finish(into: digest)
            return Fingerprint(bytes: UnsafeRawBufferPointer(rebasing: digest[..<Fingerprint.byteCount]))
        }
    }

    /// The whole SHA-256 of `bytes`, 32 bytes.
    public func digest(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        stream.update(bytes)
        return stream.finish()
    }
}

@available(*, unavailable)
extension BlockHasher: Sendable {}
