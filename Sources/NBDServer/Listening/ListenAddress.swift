import Glibc

/// An address at which a server accepts clients.
public enum ListenAddress: Sendable, Equatable, CustomStringConvertible {
    /// A Unix socket at a path of at most 107 bytes.
    case unix(path: String)
    /// A host name or address, and a port; port 0 means a free one. A name may stand for several addresses; the empty
    /// name stands for every address of this machine.
    case tcp(host: String, port: UInt16)
    /// A port for this host and its virtual machines; vsock(7).
    case vsock(port: UInt32)
    /// A listening socket that a service manager has passed on.
    case inherited(descriptor: CInt)

    /// Parses `HOST:PORT`, `[IPV6]:PORT` or `:PORT`; nil if the text has none of these forms.
    public init?(tcp text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("[") && host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard !host.isEmpty else { return nil }
        } else if host.contains(":") {
            return nil
        }
        self = .tcp(host: String(host), port: port)
    }

    /// The address as a user writes it.
    public var description: String {
        switch self {
        case .unix(let path): path
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .vsock(let port): "vsock port \(port)"
        case .inherited(let descriptor): "inherited socket \(descriptor)"
        }
    }
}
