import Glibc

/// Where clients come in.
public enum ListenAddress: Sendable, Equatable, CustomStringConvertible {
    /// A Unix socket at a path of at most 107 bytes.
    case unix(path: String)
    /// A host name or address, and a port; port 0 takes a free one. A name may stand for several addresses, the empty one
    /// for every address of this machine.
    case tcp(host: String, port: UInt16)
    /// A port for the virtual machines of this host, and for the host itself; vsock(7).
    case vsock(port: UInt32)
    /// A socket that listens already, as a service manager passes it on.
    case inherited(descriptor: CInt)

    /// Parses `HOST:PORT`, `[IPV6]:PORT` or `:PORT`; nil where it is none of them.
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

    /// As the user would write it.
    public var description: String {
        switch self {
        case .unix(let path): path
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .vsock(let port): "vsock port \(port)"
        case .inherited(let descriptor): "inherited socket \(descriptor)"
        }
    }
}
