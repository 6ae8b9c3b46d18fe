import Glibc

/// A host that a certificate names: a DNS name or an IP address.
public struct CertificateHost: Sendable, Hashable {
    private static let longestName = 253
    private static let longestLabel = 63

    /// The name as the user wrote it.
    public let text: String
    /// The same for OpenSSL.
    public let name: TLSName

    /// Parses a DNS name, whose first label may be `*`, or an IP address without brackets; nil for anything else.
    public init?(_ text: String) {
        if let address = Self.address(text) {
            name = .address(address)
        } else {
            guard Self.isName(text) else { return nil }
            name = .host(text)
        }
        self.text = text
    }

    /// The entry in subjectAltName, as x509v3_config(5) writes it. The parser admits no comma.
    var alternativeName: String {
        switch name {
        case .host: "DNS:\(text)"
        case .address: "IP:\(text)"
        }
    }

    private static func address(_ text: String) -> [UInt8]? {
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            if inet_pton(family, text, &bytes) == 1 { return bytes }
        }
        return nil
    }

    private static func isName(_ text: String) -> Bool {
        guard (1...longestName).contains(text.utf8.count) else { return false }
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        // A name of digits and periods only is a mistyped address.
        guard labels.last?.contains(where: { $0.isLetter || $0 == "-" }) ?? false else { return false }
        return labels.enumerated().allSatisfy { index, label in
            if index == 0, label == "*", labels.count > 1 { return true }
            return (1...longestLabel).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
                && label.utf8.allSatisfy(isPlain)
        }
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
