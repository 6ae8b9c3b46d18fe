import COpenSSL

/// The reason why the other side's certificate is refused.
public enum CertificateFault: Equatable, Sendable {
    /// Its time is over. `ended`: seconds since 1970; nil if the date can't be read. `isAuthority`: it is not the other side's
    /// own, but that of an authority which has signed it.
    case expired(ended: Int64?, isAuthority: Bool)
    /// Its time has not come.
    case notYetValid
    /// A revocation list has it, or an authority between it and the root.
    case revoked
    /// The revocation list of its authority is out of date.
    case listOutOfDate
    /// There is no revocation list of its authority.
    case noList
    /// No trusted authority has signed it.
    case unknownAuthority
    /// The certificate is for another host than the one that this side means. `names`: its DNS names and IP addresses,
    /// printable, and shortened to one line if there are many.
    case otherHost(names: [String])
    /// Anything else, in OpenSSL's words.
    case other(String)

    /// - Parameters:
    ///   - result: an `X509_V_ERR_` code.
    ///   - names: the hosts in the peer's certificate, for the message of `otherHost`.
    ///   - expired: the certificate that has, with its end.
    init(result: Int32, names: [String], expired: (ended: Int64?, isAuthority: Bool)) {
        switch result {
        case X509_V_ERR_CERT_HAS_EXPIRED: self = .expired(ended: expired.ended, isAuthority: expired.isAuthority)
        case X509_V_ERR_CERT_NOT_YET_VALID: self = .notYetValid
        case X509_V_ERR_CERT_REVOKED: self = .revoked
        case X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID: self = .listOutOfDate
        case X509_V_ERR_UNABLE_TO_GET_CRL: self = .noList
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: self = .otherHost(names: names)
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
            X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, X509_V_ERR_CERT_SIGNATURE_FAILURE, X509_V_ERR_CERT_UNTRUSTED:
            self = .unknownAuthority
        default: self = .other(String(cString: X509_verify_cert_error_string(Int(result))))
        }
    }
}
