import COpenSSL

/// A server's certificate, keys and rules, shared by all its connections. TLS 1.2 and 1.3.
///
/// `@unchecked Sendable`: an `SSL_CTX` that is not changed any more may be used by all threads; ssl(7).
public final class TLSContext: @unchecked Sendable {
    private static let name = "nearblock"
    /// Forward secrecy or a key in common, no anonymous servers.
    private static let ciphers = "HIGH:!aNULL:!eNULL:!kRSA:!SRP"
    /// Those with SHA-256 first: a key in common is used with that hash, and where another came first, a client that has
    /// only a key would be shown a certificate.
    private static let cipherSuites = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

    let context: OpaquePointer
    private let keys: PresharedKeys?

    /// Reads the files.
    /// - Parameter verifiesClients: whether a client has to show a certificate of the authority's, or a key in common.
    /// - Throws: `TLSError`.
    public init(files: TLSFiles, verifiesClients: Bool) throws {
        try files.check()
        guard let context = SSL_CTX_new(TLS_server_method()) else {
            throw TLSError("cannot set up TLS: \(TLSError.takeReason())")
        }
        // Nothing is stored before all has gone well: an object that is complete is freed by `deinit`, one that is not
        // has to be freed here.
        let keys: PresharedKeys?
        do {
            keys = files.hasKeys ? try PresharedKeys(path: files.keys ?? "") : nil
            try Self.setRules(context)
            if files.hasCertificate { try Self.useCertificate(files, context) }
            if verifiesClients { try Self.verifyClients(files, context) }
        } catch {
            SSL_CTX_free(context)
            throw error
        }
        self.context = context
        self.keys = keys
        if let keys {
            SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(keys).toOpaque())
            SSL_CTX_set_psk_server_callback(context) { TLSContext.findKey($0, $1, $2, $3) }
        }
    }

    deinit { SSL_CTX_free(context) }

    private static func setRules(_ context: OpaquePointer) throws {
        guard openssl_set_server_rules(context) == 1, SSL_CTX_set_cipher_list(context, ciphers) == 1,
            SSL_CTX_set_ciphersuites(context, cipherSuites) == 1,
            // A key in common counts as a session, and a server that checks clients wants sessions to be named.
            SSL_CTX_set_session_id_context(context, name, UInt32(name.utf8.count)) == 1
        else {
            throw TLSError("cannot set up TLS: \(TLSError.takeReason())")
        }
    }

    private static func useCertificate(_ files: TLSFiles, _ context: OpaquePointer) throws {
        SSL_CTX_set_default_passwd_cb(context, openssl_refuse_passphrase)
        guard SSL_CTX_use_certificate_chain_file(context, files.certificate) == 1 else {
            throw TLSError("cannot use the certificate \(files.certificate): \(TLSError.takeReason())")
        }
        var passphrasesAsked: Int32 = 0
        let isUsed = withUnsafeMutablePointer(to: &passphrasesAsked) { asked in
            SSL_CTX_set_default_passwd_cb_userdata(context, asked)
            defer { SSL_CTX_set_default_passwd_cb_userdata(context, nil) }
            return SSL_CTX_use_PrivateKey_file(context, files.key, SSL_FILETYPE_PEM) == 1
        }
        guard passphrasesAsked == 0 else {
            ERR_clear_error()
            throw TLSError(hasPassphrase: files.key)
        }
        guard isUsed else { throw TLSError("cannot use the key \(files.key): \(TLSError.takeReason())") }
        guard SSL_CTX_check_private_key(context) == 1 else {
            throw TLSError("\(files.key) is not the key of \(files.certificate)")
        }
    }

    private static func verifyClients(_ files: TLSFiles, _ context: OpaquePointer) throws {
        guard files.hasCertificate, let authority = files.authority else { return }
        guard SSL_CTX_load_verify_file(context, authority) == 1 else {
            throw TLSError("cannot check clients by \(authority): \(TLSError.takeReason())")
        }
        if files.hasRevoked, let revoked = files.revoked {
            guard SSL_CTX_load_verify_file(context, revoked) == 1,
                X509_STORE_set_flags(SSL_CTX_get_cert_store(context), UInt(X509_V_FLAG_CRL_CHECK)) == 1
            else { throw TLSError("cannot use the revoked certificates of \(revoked): \(TLSError.takeReason())") }
        }
        SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(authority))
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
    }

    /// OpenSSL asks for the key of a client; 0 where there is none. SSL_CTX_set_psk_server_callback(3).
    private static func findKey(
        _ connection: OpaquePointer?, _ identity: UnsafePointer<CChar>?, _ room: UnsafeMutablePointer<UInt8>?,
        _ capacity: UInt32
    ) -> UInt32 {
        guard let connection, let identity, let room,
            let found = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), 0),
            let key = Unmanaged<PresharedKeys>.fromOpaque(found).takeUnretainedValue()
                .key(of: String(cString: identity)),
            key.count <= capacity
        else { return 0 }
        room.update(from: key, count: key.count)
        return UInt32(key.count)
    }
}
