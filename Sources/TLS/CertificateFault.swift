import COpenSSL
import Glibc

/// The reason why the other side's certificate is refused.
public enum CertificateFault: Equatable, Sendable {
    /// Its time is over.
    case expired
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
    /// It is for another host than the one that this side means: its DNS names and IP addresses, printable, and shortened
    /// to one line where there are many.
    case otherHost(names: [String])
    /// Anything else, in OpenSSL's words.
    case other(String)

    /// More names than these would make no line.
    private static let mostNames = 8
    private static let longestName = 255

    /// - Parameters:
    ///   - result: an `X509_V_ERR_` code.
    ///   - names: the names of the certificate.
    init(result: Int32, names: [String]) {
        switch result {
        case X509_V_ERR_CERT_HAS_EXPIRED: self = .expired
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

    /// The DNS names and IP addresses (subjectAltName) of an `X509`, for a message to the user.
    static func names(of certificate: OpaquePointer) -> [String] {
        guard let list = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil).map(OpaquePointer.init) else {
            return []
        }
        defer { GENERAL_NAMES_free(list) }
        var names: [String] = []
        var omitted = 0
        for index in 0..<OPENSSL_sk_num(list) {
            guard let entry = OPENSSL_sk_value(list, index)?.assumingMemoryBound(to: GENERAL_NAME.self),
                let name = name(of: entry.pointee)
            else { continue }
            if names.count < mostNames { names.append(name) } else { omitted += 1 }
        }
        return omitted > 0 ? names + ["\(omitted) more"] : names
    }

    private static func name(of entry: GENERAL_NAME) -> String? {
        switch entry.type {
        case GEN_DNS: return printable(bytes(entry.d.dNSName))
        case GEN_IPADD: return address(bytes(entry.d.iPAddress))
        default: return nil
        }
    }

    private static func bytes(_ string: UnsafePointer<ASN1_STRING>?) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
    }

    /// Replaces what a terminal might act on: the name comes from elsewhere.
    private static func printable(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        let kept = bytes.prefix(longestName).map { (0x21...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }
        return String(decoding: kept, as: UTF8.self)
    }

    private static func address(_ bytes: UnsafeBufferPointer<UInt8>) -> String? {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, bytes.baseAddress, &text, socklen_t(text.count)) != nil else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
