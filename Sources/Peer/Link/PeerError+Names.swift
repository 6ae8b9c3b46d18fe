import NIOCore
import NIOSSL

extension PeerError {
    /// More names of a certificate than these would make no line.
    private static let mostNames = 8

    /// The peer's certificate is good, but not for the host that was asked for.
    init(isNot host: String, butHas certificate: NIOSSLCertificate?) {
        let names = certificate.map(Self.names) ?? []
        let has =
            names.isEmpty
            ? "it names no host (subjectAltName)"
            : "it names \(names.joined(separator: ", ")) (subjectAltName), and not \(host)"
        self = .handshake(
            "its certificate is for another host: \(has); give --to a name that the certificate has, or have one made "
                + "for the other node that has \(host)")
    }

    private static func names(of certificate: NIOSSLCertificate) -> [String] {
        let all = certificate._subjectAlternativeNames().compactMap { name in
            let bytes = Array(name.contents)
            switch name.nameType {
            case .dnsName: return printable(bytes)
            case .ipAddress: return (try? SocketAddress(packedIPAddress: ByteBuffer(bytes: bytes), port: 0))?.ipAddress
            default: return nil
            }
        }
        return all.count > mostNames ? all.prefix(mostNames) + ["\(all.count - mostNames) more"] : all
    }

    /// What came from elsewhere and goes to a terminal.
    private static func printable(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.prefix(255).map { (0x21...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }
}
