import COpenSSL

/// The reason why a connection is of no more use.
public enum TLSFailure: Error, Equatable, Sendable {
    /// The other side's certificate is refused.
    case certificate(CertificateFault)
    /// The other side shows no certificate.
    case noCertificate
    /// The other side has refused the connection.
    case refused(TLSAlert)
    /// The two sides have no version of TLS in common.
    case noCommonVersion
    /// The other side's bytes are no TLS.
    case notTLS
    /// The connection ended before both sides knew each other.
    case endedInHandshake
    /// The connection ended without the other side's word that it is complete (close_notify).
    case truncated
    /// Anything else, in OpenSSL's words.
    case other(String)

    private static let notTLSReasons = [
        SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_UNKNOWN_PROTOCOL,
    ]
    private static let versionReasons = [
        SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_WRONG_SSL_VERSION, SSL_R_VERSION_TOO_LOW, SSL_R_VERSION_TOO_HIGH,
        SSL_R_NO_PROTOCOLS_AVAILABLE,
    ]

    /// Reads the newest entry of OpenSSL's error queue, and empties the queue.
    /// - Parameter fault: what is wrong with the other side's certificate, for the case that this is the reason.
    static func take(fault: @autoclosure () -> CertificateFault) -> TLSFailure {
        // Older entries are what the check of a signature left behind; the newest one is the verdict.
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0, ERR_GET_LIB(code) == ERR_LIB_SSL else { return .other(TLSError.reason(of: code)) }
        let reason = ERR_GET_REASON(code)
        if reason == SSL_R_CERTIFICATE_VERIFY_FAILED { return .certificate(fault()) }
        if reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE { return .noCertificate }
        if versionReasons.contains(reason) { return .noCommonVersion }
        if notTLSReasons.contains(reason) { return .notTLS }
        let alert = reason - SSL_AD_REASON_OFFSET
        guard (0...255).contains(alert) else { return .other(TLSError.reason(of: code)) }
        if alert == SSL_AD_PROTOCOL_VERSION { return .noCommonVersion }
        return .refused(TLSAlert(number: alert, text: TLSError.reason(of: code)))
    }
}
