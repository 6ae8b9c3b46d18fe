import COpenSSL

/// Certificates in DER, the form in which they are signed and compared.
enum DER {
    /// Returns a certificate's bytes; nil if OpenSSL can't write them.
    static func bytes(_ certificate: OpaquePointer) -> [UInt8]? {
        let count = i2d_X509(certificate, nil)
        guard count > 0 else { return nil }
        return [UInt8](unsafeUninitializedCapacity: Int(count)) { bytes, written in
            var next = bytes.baseAddress
            written = Int(i2d_X509(certificate, &next))
        }
    }
}

extension TLSContext {
    /// The certificate that is shown, in DER; nil if there is none.
    package var certificate: [UInt8]? { SSL_CTX_get0_certificate(context).flatMap(DER.bytes) }
}
