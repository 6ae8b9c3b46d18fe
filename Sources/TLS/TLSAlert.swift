import COpenSSL

/// The reason that the other side gives for refusing a connection; RFC 8446, 6.2.
public enum TLSAlert: Equatable, Sendable {
    /// No authority that it trusts has signed this side's certificate, or it has no revocation list of that authority.
    case unknownAuthority
    /// This side's certificate has expired, or the other side's revocation list has.
    case certificateExpired
    /// This side's certificate is revoked.
    case certificateRevoked
    /// This side's certificate is of a kind that it does not take.
    case certificateUnsupported
    /// It does not take this side's certificate, and does not say why.
    case certificateBad
    /// It wants a certificate, and this side has shown none.
    case certificateRequired
    /// Anything else, in OpenSSL's words.
    case other(String)

    init(number: Int32, text: String) {
        switch number {
        case SSL_AD_UNKNOWN_CA: self = .unknownAuthority
        case SSL_AD_CERTIFICATE_EXPIRED: self = .certificateExpired
        case SSL_AD_CERTIFICATE_REVOKED: self = .certificateRevoked
        case SSL_AD_UNSUPPORTED_CERTIFICATE: self = .certificateUnsupported
        case SSL_AD_BAD_CERTIFICATE, SSL_AD_CERTIFICATE_UNKNOWN: self = .certificateBad
        case SSL_AD_CERTIFICATE_REQUIRED: self = .certificateRequired
        default: self = .other(text)
        }
    }
}
