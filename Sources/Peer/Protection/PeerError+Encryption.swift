import NIOSSL

extension PeerError {
    /// What BoringSSL says, and what it means for two nodes; the first that fits counts.
    private static let meanings: [(word: String, meaning: String)] = [
        ("CERTIFICATE_VERIFY_FAILED", "its certificate has expired, or is not one that our ca-cert.pem has signed"),
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "it shows no certificate"),
        ("CERTIFICATE_REQUIRED", "it wants a certificate, and this node has none to show"),
        ("CERTIFICATE_EXPIRED", "this node's certificate has expired"),
        ("ALERT_UNKNOWN_CA", "it does not accept this node's certificate; both must be signed by the same authority"),
        ("ALERT_BAD_CERTIFICATE", "it does not accept this node's certificate"),
        ("ALERT_CERTIFICATE_UNKNOWN", "it does not accept this node's certificate"),
        ("UNSUPPORTED_CERTIFICATE", "it does not accept this node's kind of certificate"),
        ("UNSUPPORTED_PROTOCOL", "it does not speak TLS 1.3"),
        ("PROTOCOL_VERSION", "it does not speak TLS 1.3"),
        ("WRONG_VERSION_NUMBER", "it does not speak TLS; give both nodes --peer-tls DIR or --tls DIR"),
        ("HTTP_REQUEST", "it does not speak TLS"),
        ("EOF during handshake", "it hung up; does it expect TLS on this port?"),
    ]

    /// A failure of the handler that encrypts; nil for anything else.
    init?(encryption error: any Error) {
        switch error {
        case is NIOSSLExtraError, is NIOSSLError, is BoringSSLError:
            let text = String(describing: error)
            self = .handshake(
                Self.meanings.first { text.contains($0.word) }?.meaning ?? "TLS does not come about: \(text)")
        default:
            return nil
        }
    }
}
