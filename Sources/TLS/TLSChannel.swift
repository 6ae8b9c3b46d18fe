import COpenSSL

/// One encrypted connection, without a socket: ciphertext in and out through buffers that the caller receives into and
/// sends from.
///
/// 1. Receive into `roomForInput`, then `didReceive`. 2. `read` and `write`; the first reads also drive the handshake.
/// 3. Send `output`, then `didSend`. 4. `close`, and send what that leaves in `output`.
///
/// Used on one thread at a time. BIO_s_bio(3), SSL_read(3), SSL_write(3).
public final class TLSChannel {
    private let context: TLSContext
    private let connection: OpaquePointer
    /// Our end of the pair whose other end is the connection's.
    private let network: OpaquePointer
    /// Plaintext bytes that one key may encrypt before TLS 1.3 replaces it.
    ///
    /// AES-GCM stays safe for 2^24.5 records, about 390 GB of full ones (RFC 8446, section 5.5). A disk may have more.
    /// OpenSSL counts nothing itself, and short records reach the number sooner: 16 GiB are 2^24 records of 1 KiB.
    static let standardKeyLifetime: UInt64 = 16 << 30

    /// As `standardKeyLifetime`; tests set less.
    package var keyLifetime = standardKeyLifetime
    private var encryptedBytes: UInt64 = 0
    /// The number of keys that this end has replaced.
    package private(set) var keyUpdates = 0
    /// The names of a certificate that is refused for them; empty otherwise.
    private var refusedNames: [String] = []
    /// The end of a certificate that is refused for it.
    private var refusedEnd: (ended: Int64?, isAuthority: Bool) = (nil, false)

    /// The reason of the last `.failed`; nil as long as there was none.
    public private(set) var failure: TLSFailure?

    /// A server's end of a connection that has exchanged nothing yet.
    /// - Parameters:
    ///   - inputSize: bytes of the buffer for received ciphertext, at least 17 KiB: a record has up to 16 KiB and a little.
    ///     Four records keep the system calls of NBD clients few.
    ///   - outputSize: bytes of the buffer for ciphertext to send, at least 17 KiB; eight records for the same reason.
    public convenience init(context: TLSContext, inputSize: Int = 68 << 10, outputSize: Int = 136 << 10) {
        precondition(context.side == .server, "a client must say whom it means to reach")
        self.init(context, inputSize, outputSize)
        SSL_set_accept_state(connection)
    }

    /// A client's end of a connection that has exchanged nothing yet.
    /// - Parameters:
    ///   - name: the name that the server's certificate must have.
    ///   - inputSize: bytes of the buffer for received ciphertext, at least 17 KiB.
    ///   - outputSize: bytes of the buffer for ciphertext to send, at least 17 KiB.
    /// - Throws: `TLSError` where OpenSSL does not take the name.
    public convenience init(
        context: TLSContext, connectingTo name: TLSName, inputSize: Int, outputSize: Int
    ) throws {
        precondition(context.side == .client)
        self.init(context, inputSize, outputSize)
        SSL_set_connect_state(connection)
        try expect(name)
    }

    private init(_ context: TLSContext, _ inputSize: Int, _ outputSize: Int) {
        var inner: OpaquePointer?
        var outer: OpaquePointer?
        guard BIO_new_bio_pair(&inner, outputSize, &outer, inputSize) == 1, let inner, let outer,
            let connection = SSL_new(context.context)
        else { fatalError("out of memory") }
        SSL_set_bio(connection, inner, inner)
        self.context = context
        self.connection = connection
        network = outer
        // The connection lives no longer than this object.
        SSL_set_ex_data(connection, 0, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        SSL_free(connection)
        BIO_free(network)
    }

    private func expect(_ name: TLSName) throws {
        let rules = SSL_get0_param(connection)
        let isTaken =
            switch name {
            case .host(let host):
                openssl_set_server_name(connection, host) == 1
                    && X509_VERIFY_PARAM_set1_host(rules, host, host.utf8.count) == 1
            case .address(let bytes):
                X509_VERIFY_PARAM_set1_ip(rules, bytes, bytes.count) == 1
            }
        ERR_clear_error()
        // Without the name, OpenSSL would take any certificate.
        guard isTaken else { throw TLSError("\(name) is no name that a certificate can have; give another") }
    }

    /// Returns where the next ciphertext may be put; empty where what is there has to be read first.
    public func roomForInput() -> UnsafeMutableRawBufferPointer {
        var base: UnsafeMutablePointer<CChar>?
        let count = BIO_nwrite0(network, &base)
        return UnsafeMutableRawBufferPointer(start: base, count: count > 0 ? Int(count) : 0)
    }

    /// Takes over the first `count` bytes of what `roomForInput` returned.
    public func didReceive(_ count: Int) {
        var base: UnsafeMutablePointer<CChar>?
        let taken = BIO_nwrite(network, &base, Int32(count))
        precondition(taken == count, "more was received than there was room for")
    }

    /// Ciphertext that waits to be sent; there may be more behind it. It stays in place until `didSend`.
    public var output: UnsafeRawBufferPointer {
        var base: UnsafeMutablePointer<CChar>?
        let count = BIO_nread0(network, &base)
        return UnsafeRawBufferPointer(start: base, count: count > 0 ? Int(count) : 0)
    }

    /// Drops the first `count` bytes of `output`, which have been sent.
    public func didSend(_ count: Int) {
        var base: UnsafeMutablePointer<CChar>?
        let taken = BIO_nread(network, &base, Int32(count))
        precondition(taken == count, "more was sent than there was")
    }

    /// Decrypts at most `count` bytes.
    public func read(into buffer: UnsafeMutableRawPointer, count: Int) -> TLSOutcome {
        ERR_clear_error()
        return outcome(SSL_read(connection, buffer, Int32(clamping: count)))
    }

    /// Encrypts at most `count` bytes; those that `.done` counts have been copied.
    public func write(from buffer: UnsafeRawPointer, count: Int) -> TLSOutcome {
        ERR_clear_error()
        if encryptedBytes >= keyLifetime { updateKey() }
        let outcome = outcome(SSL_write(connection, buffer, Int32(clamping: count)))
        if case .done(let count) = outcome { encryptedBytes += UInt64(count) }
        return outcome
    }

    /// Replaces the key that encrypts, before the next record; SSL_key_update(3).
    private func updateKey() {
        guard SSL_version(connection) == TLS1_3_VERSION else { return encryptedBytes = 0 }
        // OpenSSL refuses while a record is half written; the next write then tries again.
        guard SSL_key_update(connection, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 else { return ERR_clear_error() }
        encryptedBytes = 0
        keyUpdates += 1
    }

    /// Says that nothing more will be written.
    public func close() {
        ERR_clear_error()
        SSL_shutdown(connection)
        ERR_clear_error()
    }

    /// Whether both sides have said all that the handshake needs. The other side may still refuse this one: a client of
    /// TLS 1.3 is not told that its certificate is good.
    public var isEstablished: Bool { SSL_is_init_finished(connection) == 1 }

    /// The other side's certificate, in DER; nil where it has shown none, or before the handshake is over.
    public var peerCertificate: [UInt8]? {
        SSL_get0_peer_certificate(connection).flatMap(DER.bytes)
    }

    private func outcome(_ result: Int32) -> TLSOutcome {
        if result > 0 { return .done(Int(result)) }
        switch SSL_get_error(connection, result) {
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_WANT_WRITE: return .needsRoom
        case SSL_ERROR_ZERO_RETURN: return .closed
        default:
            // The queue is the thread's: what is left there would look like another connection's error.
            failure = .take(
                fault: CertificateFault(
                    result: Int32(SSL_get_verify_result(connection)), names: refusedNames, expired: refusedEnd))
            return .failed
        }
    }

    /// Judges one certificate of the other side's chain after OpenSSL has; SSL_CTX_set_verify(3).
    /// - Returns: 1 to go on.
    static func judge(isGood: Int32, _ check: OpaquePointer?) -> Int32 {
        guard isGood == 0, let check else { return isGood }
        switch X509_STORE_CTX_get_error(check) {
        case X509_V_ERR_UNABLE_TO_GET_CRL where X509_STORE_CTX_get_error_depth(check) > 0:
            // The other side's own certificate needs a list of its authority. The authorities above it are looked up in
            // the lists that are there: few publish one for each.
            X509_STORE_CTX_set_error(check, X509_V_OK)
            return 1
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
            // OpenSSL forgets a certificate that it refuses, and the user needs its names.
            if let certificate = X509_STORE_CTX_get0_cert(check) {
                channel(of: check)?.refusedNames = CertificateNames.names(of: certificate)
            }
            return 0
        case X509_V_ERR_CERT_HAS_EXPIRED:
            channel(of: check)?.refusedEnd = (
                X509_STORE_CTX_get_current_cert(check).flatMap(CertificateExpiry.end),
                X509_STORE_CTX_get_error_depth(check) > 0
            )
            return 0
        default:
            return 0
        }
    }

    private static func channel(of check: OpaquePointer) -> TLSChannel? {
        let index = SSL_get_ex_data_X509_STORE_CTX_idx()
        let connection = X509_STORE_CTX_get_ex_data(check, index).map(OpaquePointer.init)
        return connection.flatMap { SSL_get_ex_data($0, 0) }.map {
            Unmanaged<TLSChannel>.fromOpaque($0).takeUnretainedValue()
        }
    }
}
