import COpenSSL

/// Computes SHA-256 over bytes that come in pieces. It can be used again: `finish` begins the next digest.
///
/// Not Sendable: OpenSSL's context belongs to one thread at a time. The algorithm is fetched once, because
/// fetching costs more than hashing a block.
public final class SHA256Stream {
    /// Bytes of a digest.
    public static let byteCount = 32
    private let algorithm: OpaquePointer
    private let context: OpaquePointer

    /// Starts with nothing hashed.
    public init() {
        guard let algorithm = EVP_MD_fetch(nil, "SHA256", nil), let context = EVP_MD_CTX_new(),
            EVP_DigestInit_ex2(context, algorithm, nil) == 1
        else { preconditionFailure("OpenSSL has no SHA-256, or memory has run out") }
        self.algorithm = algorithm
        self.context = context
    }

    deinit {
        EVP_MD_CTX_free(context)
        EVP_MD_free(algorithm)
    }

    /// Adds bytes to the digest.
    public func update(_ bytes: UnsafeRawBufferPointer) {
        precondition(EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1, "SHA-256 failed")
    }

    /// Writes the digest of everything since the last `finish` into 32 bytes.
    package func finish(into digest: UnsafeMutableRawBufferPointer) {
        precondition(digest.count == Self.byteCount, "a SHA-256 has 32 bytes")
        let bytes = digest.baseAddress!.assumingMemoryBound(to: UInt8.self)
        precondition(EVP_DigestFinal_ex(context, bytes, nil) == 1, "SHA-256 failed")
        precondition(EVP_DigestInit_ex2(context, nil, nil) == 1, "SHA-256 failed")
    }

    /// The digest of everything since the last `finish`.
    public func finish() -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Self.byteCount)
        digest.withUnsafeMutableBytes { finish(into: $0) }
        return digest
    }
}
