import COpenSSL
import Glibc

/// An authority with its key, which makes certificates for nodes.
public struct CertificateAuthority {
    /// Seconds that certificates are valid before they are made: clocks of two hosts differ.
    private static let backdating = 3600
    /// Days that the authority is valid.
    static let days = 3650
    /// Characters of the longest common name; RFC 5280, ub-common-name.
    private static let longestName = 64

    private let certificate: Certificate
    private let key: PrivateKey

    /// Makes a new authority.
    /// - Parameter name: Its common name, of which 64 characters count.
    /// - Throws: `TLSError`.
    public init(name: String) throws {
        key = try PrivateKey()
        certificate = try Self.make(name, days: Self.days, key: key, issuer: nil, signedBy: key) { certificate in
            [
                (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"), (NID_key_usage, "critical,keyCertSign,cRLSign"),
                (NID_subject_key_identifier, "hash"),
            ]
        }
    }

    /// Reads an authority from a PEM file each.
    /// - Throws: `TLSError` if they can't be used, or don't belong together.
    public init(certificate: String, key: String) throws {
        self.certificate = try Certificate.read(certificate)[0]
        self.key = try PrivateKey(path: key)
        guard X509_check_private_key(self.certificate.x509, self.key.key) == 1 else {
            ERR_clear_error()
            throw TLSError("\(key) is not the key of \(certificate): put a pair there that was made together")
        }
        if let problem = CertificateProblem(certificate, self.certificate.validity), problem.isFault {
            throw TLSError(problem.description)
        }
    }

    /// The certificate and the key, in PEM.
    /// - Throws: `TLSError`.
    public func pem() throws -> (certificate: [UInt8], key: [UInt8]) { (try PEM.of(certificate), try PEM.of(key)) }

    /// Makes a certificate and its key for one side of a connection.
    /// - Parameters:
    ///   - hosts: At least one; the first is the common name.
    ///   - days: Days that it is valid, at least 1. It ends no later than the authority.
    /// - Returns: Both in PEM.
    /// - Throws: `TLSError`.
    public func issue(_ side: TLSSide, to hosts: [CertificateHost], days: Int) throws -> (
        certificate: [UInt8], key: [UInt8]
    ) {
        let own = try PrivateKey()
        let names = hosts.map(\.alternativeName).joined(separator: ",")
        let life = min(days, certificate.daysUntilEnd ?? days)
        let made = try Self.make(hosts[0].text, days: life, key: own, issuer: certificate, signedBy: key) { _ in
            [
                (NID_basic_constraints, "critical,CA:FALSE"), (NID_key_usage, "critical,digitalSignature"),
                (NID_ext_key_usage, side == .server ? "serverAuth" : "clientAuth"), (NID_subject_alt_name, names),
                (NID_subject_key_identifier, "hash"), (NID_authority_key_identifier, "keyid"),
            ]
        }
        return (try PEM.of(made), try PEM.of(own))
    }

    /// - Parameter issuer: Nil for a certificate that signs itself.
    private static func make(
        _ name: String, days: Int, key: PrivateKey, issuer: Certificate?, signedBy signer: PrivateKey,
        _ extensions: (Certificate) -> [(CInt, String)]
    ) throws -> Certificate {
        ERR_clear_error()
        guard let x509 = X509_new() else { throw TLSError("out of memory") }
        let made = Certificate(taking: x509)
        let isSet =
            X509_set_version(x509, 2) == 1 && setSerialNumber(x509)
            && X509_gmtime_adj(X509_getm_notBefore(x509), -backdating) != nil
            && X509_time_adj_ex(X509_getm_notAfter(x509), CInt(clamping: days), 0, nil) != nil
            && X509_set_pubkey(x509, key.key) == 1
            && openssl_set_common_name(X509_get_subject_name(x509), String(name.prefix(longestName))) == 1
            && X509_set_issuer_name(x509, X509_get_subject_name(issuer?.x509 ?? x509)) == 1
        guard isSet else { throw TLSError("cannot make a certificate: \(TLSError.takeReason())") }
        for (kind, value) in extensions(made) {
            guard openssl_add_extension(x509, issuer?.x509 ?? x509, kind, value) == 1 else {
                throw TLSError("cannot make a certificate with '\(value)': \(TLSError.takeReason())")
            }
        }
        guard X509_sign(x509, signer.key, EVP_sha256()) > 0 else {
            throw TLSError("cannot sign a certificate: \(TLSError.takeReason())")
        }
        return made
    }

    /// Sets 127 random bits, so that no two certificates of an authority share a number.
    private static func setSerialNumber(_ x509: OpaquePointer) -> Bool {
        guard let number = BN_new() else { return false }
        defer { BN_free(number) }
        return BN_rand(number, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1
            && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != nil
    }
}
