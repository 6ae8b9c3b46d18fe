import COpenSSL
import Glibc

/// Reads the DNS names and IP addresses (subjectAltName) of a certificate, for a message to the user.
enum CertificateNames {
    /// More names than these would make no line.
    private static let mostNames = 8
    /// Bytes of the longest name in DNS.
    private static let longestName = 255

    /// Returns the names of an `X509`, printable; of more than 8, the number of the others stands in for them.
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
