import Glibc

/// Where clients come in.
public enum ListenAddress: Sendable, Equatable, CustomStringConvertible {
    /// A Unix socket at a path of at most 107 bytes.
    case unix(path: String)
    /// A host name or address, and a port; port 0 takes a free one.
    case tcp(host: String, port: UInt16)

    /// As the user would write it.
    public var description: String {
        switch self {
        case .unix(let path): path
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }
}
