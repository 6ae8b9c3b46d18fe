import COpenSSL

/// A private key.
final class PrivateKey {
    let key: OpaquePointer

    /// Makes a key on the curve P-256.
    /// - Throws: `TLSError`.
    init() throws {
        guard let key = openssl_make_key() else { throw TLSError("cannot make a key: \(TLSError.takeReason())") }
        self.key = key
    }

    /// Reads a PEM file.
    /// - Throws: `TLSError`, also for a key with a passphrase.
    init(path: String) throws {
        ERR_clear_error()
        guard let file = BIO_new_file(path, "r") else { throw TLSError(cannotUse: "key", path) }
        defer { BIO_free(file) }
        var passphrasesAsked: CInt = 0
        guard let key = PEM_read_bio_PrivateKey(file, nil, openssl_refuse_passphrase, &passphrasesAsked) else {
            guard passphrasesAsked == 0 else {
                ERR_clear_error()
                throw TLSError(hasPassphrase: path)
            }
            throw TLSError(cannotUse: "key", path)
        }
        self.key = key
    }

    deinit { EVP_PKEY_free(key) }
}
