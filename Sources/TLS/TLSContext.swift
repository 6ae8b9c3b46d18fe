import COpenSSL

/// The certificate, keys and rules of a server or a client, shared by all its connections.
///
/// `@unchecked Sendable`: an `SSL_CTX` that is not changed any more may be used by all threads; ssl(7).
public final class TLSContext: @unchecked Sendable {
    private static let name = "nearblock"
    /// Forward secrecy or a preshared key, no anonymous servers. For TLS 1.2.
    private static let ciphers = "HIGH:!aNULL:!eNULL:!kRSA:!SRP"
    /// Suites with SHA-256 come first, because a preshared key is used with that hash. Otherwise a client that has only
    /// a key would be shown a certificate.
    private static let cipherSuites = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

    /// The end of a connection that it is for.
    public let side: TLSSide
    /// Whether it has a certificate to show.
    public let hasCertificate: Bool
    let context: OpaquePointer
    private let keys: PresharedKeys?

    /// Reads the files of a server that speaks TLS 1.2 and 1.3.
    /// - Parameter verifiesClients: whether a client has to show a certificate of the authority's, or a preshared key.
    /// - Throws: `TLSError`.
    public init(files: TLSFiles, verifiesClients: Bool) throws {
        try files.check()
        let keys = files.hasKeys ? try PresharedKeys(path: files.keys ?? "") : nil
        context = try Self.make(.server, oldest: TLS1_2_VERSION, newest: 0) { context in
            if files.hasCertificate {
                try Self.useCertificate(files, context)
                if verifiesClients, let authority = files.authority {
                    try Self.verify(files, authority, context)
                    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(authority))
                }
            }
            guard let keys else { return }
            SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(keys).toOpaque())
            SSL_CTX_set_psk_server_callback(context) { TLSContext.findKey($0, $1, $2, $3) }
        }
        side = .server
        hasCertificate = files.hasCertificate
        self.keys = keys
    }

    /// Reads the files of one side of a link in which both show certificates, in TLS 1.3 only. Without a certificate and
    /// its key, the context is there to find out whether the other files can be used.
    /// - Throws: `TLSError`.
    public init(mutual files: TLSFiles, side: TLSSide) throws {
        context = try Self.make(side, oldest: TLS1_3_VERSION, newest: TLS1_3_VERSION) { context in
            let authority = files.authority ?? ""
            try Self.verify(files, authority, context)
            if side == .server { SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(authority)) }
            if files.hasCertificateOrKey { try Self.useCertificate(files, context) }
        }
        self.side = side
        hasCertificate = files.hasCertificateOrKey
        keys = nil
    }

    deinit { SSL_CTX_free(context) }

    /// Checks that the certificate and its key can be read and belong together.
    /// - Throws: `TLSError`.
    static func checkPair(_ files: TLSFiles, side: TLSSide) throws {
        SSL_CTX_free(try make(side, oldest: TLS1_2_VERSION, newest: 0) { try useCertificate(files, $0) })
    }

    /// Sets a context up. One that is not complete is freed here, because `deinit` only frees those of complete objects.
    private static func make(
        _ side: TLSSide, oldest: Int32, newest: Int32, _ configure: (OpaquePointer) throws -> Void
    ) throws -> OpaquePointer {
        guard let context = SSL_CTX_new(side == .server ? TLS_server_method() : TLS_client_method()) else {
            throw TLSError("cannot set up TLS: \(TLSError.takeReason())")
        }
        do {
            guard openssl_set_rules(context, oldest, newest) == 1, SSL_CTX_set_cipher_list(context, ciphers) == 1,
                SSL_CTX_set_ciphersuites(context, cipherSuites) == 1,
                // A preshared key counts as a session, and a server that checks clients wants sessions to be named.
                SSL_CTX_set_session_id_context(context, name, UInt32(name.utf8.count)) == 1
            else {
                throw TLSError("cannot set up TLS: \(TLSError.takeReason())")
            }
            try configure(context)
            return context
        } catch {
            SSL_CTX_free(context)
            throw error
        }
    }

    private static func useCertificate(_ files: TLSFiles, _ context: OpaquePointer) throws {
        ERR_clear_error()
        SSL_CTX_set_default_passwd_cb(context, openssl_refuse_passphrase)
        guard SSL_CTX_use_certificate_chain_file(context, files.certificate) == 1 else {
            throw TLSError(cannotUse: "certificate", files.certificate)
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
        let isMismatch = ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_X509
        guard isUsed || isMismatch else { throw TLSError(cannotUse: "key", files.key) }
        guard isUsed, SSL_CTX_check_private_key(context) == 1 else {
            ERR_clear_error()
            throw TLSError(
                "\(files.key) is not the key of \(files.certificate): put a pair there that was made together")
        }
    }

    /// Has connections check the other side's certificate, and want one.
    private static func verify(_ files: TLSFiles, _ authority: String, _ context: OpaquePointer) throws {
        ERR_clear_error()
        guard SSL_CTX_load_verify_file(context, authority) == 1 else {
            throw TLSError(cannotUse: "authority's certificate", authority)
        }
        if files.hasRevoked, let revoked = files.revoked {
            let store = SSL_CTX_get_cert_store(context)
            // Takes lists only: a certificate in that file must not become an authority.
            guard let lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file()),
                X509_load_crl_file(lookup, revoked, X509_FILETYPE_PEM) > 0,
                X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL)) == 1
            else { throw TLSError(cannotUse: "list of revoked certificates", revoked) }
        }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT) {
            TLSChannel.judge(isGood: $0, $1)
        }
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
