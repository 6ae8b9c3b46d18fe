/// The address at which a node listens for its peers.
public struct PeerAddress: Codable, Hashable, Sendable, CustomStringConvertible {
    /// A host name or an address.
    public let host: String
    /// 1 to 65535; 0 lets the kernel choose, when listening.
    public let port: UInt16

    /// Makes an address of its parts.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Parses `HOST:PORT` or `[IPV6]:PORT`; nil if it is neither.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = String(text[..<colon])
        if host.hasPrefix("[") && host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty else { return nil }
        self.init(host: host, port: port)
    }

    /// Bytes of the longest host name.
    public static let longestHost = 255

    /// Whether its form allows a connection; to check an address that did not come from this node's user.
    public var isWellFormed: Bool {
        let isAllowed: (UInt8) -> Bool = { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"):
                true
            default: ".-_:%".utf8.contains(byte)
            }
        }
        return port != 0 && (1...Self.longestHost).contains(host.utf8.count) && host.utf8.allSatisfy(isAllowed)
    }

    /// Whether the host can only be this machine.
    public var isLoopback: Bool {
        if host == "localhost" || host == "::1" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// Whether it stands for all addresses of a machine, so that nobody can connect to it.
    package var isWildcard: Bool { ["0.0.0.0", "::"].contains(host) }

    /// As the user would write it.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
