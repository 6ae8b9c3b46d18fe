import PeerModel

/// An address at which a node answers HTTP.
public enum MonitoringAddress: Sendable, Equatable, CustomStringConvertible {
    /// A host name or address, and a port; port 0 means a free one.
    case tcp(PeerAddress)
    /// A Unix socket at a path of at most 107 bytes.
    case unix(path: String)

    /// Parses `HOST:PORT`, `[IPV6]:PORT`, `PORT` of 127.0.0.1, or `unix:PATH`; nil if it is none of these.
    public init?(_ text: String) {
        if text.hasPrefix("unix:") {
            let path = text.dropFirst("unix:".count)
            guard !path.isEmpty else { return nil }
            self = .unix(path: String(path))
        } else if let port = UInt16(text) {
            self = .tcp(PeerAddress(host: "127.0.0.1", port: port))
        } else if let address = PeerAddress(text) {
            self = .tcp(address)
        } else {
            return nil
        }
    }

    /// Whether only this machine can reach it.
    public var isLocal: Bool {
        switch self {
        case .tcp(let address): address.isLoopback
        case .unix: true
        }
    }

    /// Whether browsers can reach it.
    public var isTCP: Bool { if case .tcp = self { true } else { false } }

    /// As the user would write it.
    public var description: String {
        switch self {
        case .tcp(let address): "\(address)"
        case .unix(let path): "unix:\(path)"
        }
    }
}
