import COpenSSL

/// Certificates and keys as text.
enum PEM {
    static func of(_ certificate: Certificate) throws -> [UInt8] {
        try write { PEM_write_bio_X509($0, certificate.x509) }
    }

    /// Without a passphrase, because a node has nobody to ask for one.
    static func of(_ key: PrivateKey) throws -> [UInt8] {
        try write { PEM_write_bio_PrivateKey($0, key.key, nil, nil, 0, nil, nil) }
    }

    private static func write(_ body: (OpaquePointer) -> CInt) throws -> [UInt8] {
        guard let memory = BIO_new(BIO_s_mem()) else { throw TLSError("out of memory") }
        defer { BIO_free(memory) }
        guard body(memory) == 1 else { throw TLSError("cannot write PEM: \(TLSError.takeReason())") }
        var bytes = [UInt8](repeating: 0, count: BIO_ctrl_pending(memory))
        let count = BIO_read(memory, &bytes, CInt(clamping: bytes.count))
        return Array(bytes.prefix(Int(max(0, count))))
    }
}
