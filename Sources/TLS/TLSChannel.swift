import COpenSSL

/// One encrypted connection, from the server's side, without a socket: ciphertext in and out through buffers that the
/// caller receives into and sends from.
///
/// 1. Receive into `roomForInput`, then `didReceive`. 2. `read` and `write`; the first reads also drive the handshake.
/// 3. Send `output`, then `didSend`. 4. `close`, and send what that leaves in `output`.
///
/// Used on one thread. BIO_s_bio(3), SSL_read(3), SSL_write(3).
public final class TLSChannel {
    /// Bytes; a record is at most 16 KiB and a little.
    private static let inputSize = 68 << 10
    private static let outputSize = 136 << 10

    private let context: TLSContext
    private let connection: OpaquePointer
    /// Our end of the pair whose other end is the connection's.
    private let network: OpaquePointer

    /// A connection that has exchanged nothing yet.
    public init(context: TLSContext) {
        var inner: OpaquePointer?
        var outer: OpaquePointer?
        guard BIO_new_bio_pair(&inner, Self.outputSize, &outer, Self.inputSize) == 1, let inner, let outer,
            let connection = SSL_new(context.context)
        else { fatalError("out of memory") }
        SSL_set_bio(connection, inner, inner)
        SSL_set_accept_state(connection)
        self.context = context
        self.connection = connection
        network = outer
    }

    deinit {
        SSL_free(connection)
        BIO_free(network)
    }

    /// Where the next ciphertext may be put; empty where what is there has to be read first.
    public func roomForInput() -> UnsafeMutableRawBufferPointer {
        var base: UnsafeMutablePointer<CChar>?
        let count = BIO_nwrite0(network, &base)
        return UnsafeMutableRawBufferPointer(start: base, count: count > 0 ? Int(count) : 0)
    }

    /// So many bytes have been put where `roomForInput` said.
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

    /// The first `count` bytes of `output` have been sent.
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
        return outcome(SSL_write(connection, buffer, Int32(clamping: count)))
    }

    /// Says that nothing more will be written.
    public func close() {
        ERR_clear_error()
        SSL_shutdown(connection)
        ERR_clear_error()
    }

    private func outcome(_ result: Int32) -> TLSOutcome {
        if result > 0 { return .done(Int(result)) }
        switch SSL_get_error(connection, result) {
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_WANT_WRITE: return .needsRoom
        case SSL_ERROR_ZERO_RETURN: return .closed
        default:
            // The queue is the thread's: what is left there would look like another connection's error.
            ERR_clear_error()
            return .failed
        }
    }
}
