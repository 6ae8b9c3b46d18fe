import Hashing

/// One hash over a whole memory stream: over its tokens, its bytes, its headers, and the fingerprints of its pages. Both
/// nodes compute it, each over the bytes that it took from or gives to its hypervisor.
struct StreamProof: Sendable {
    /// The digest of everything so far, 32 bytes.
    private(set) var digest = [UInt8](repeating: 0, count: SHA256Stream.byteCount)

    /// The first half of the digest.
    var prefix: Fingerprint {
        digest.withUnsafeBytes { Fingerprint(bytes: UnsafeRawBufferPointer(rebasing: $0[..<Fingerprint.byteCount])) }
    }

    /// The proof after a further batch.
    /// - Parameter material: the batch's bytes that are no pages, its headers, and its pages' fingerprints, in their order.
    func adding(tokens: UnsafeRawBufferPointer, material: UnsafeRawBufferPointer, _ hash: SHA256Stream) -> StreamProof {
        digest.withUnsafeBytes { hash.update($0) }
        withUnsafeBytes(of: UInt64(tokens.count).bigEndian) { hash.update($0) }
        hash.update(tokens)
        hash.update(material)
        var proof = StreamProof()
        proof.digest = hash.finish()
        return proof
    }
}
