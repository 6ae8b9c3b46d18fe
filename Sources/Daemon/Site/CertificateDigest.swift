import Hashing

/// The digests by which a site's store names certificates.
enum CertificateDigest {
    /// The SHA-256 of a certificate in DER, in hexadecimal digits.
    static func text(of certificate: [UInt8]) -> String {
        let stream = SHA256Stream()
        certificate.withUnsafeBytes { stream.update($0) }
        return stream.finish().map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}
