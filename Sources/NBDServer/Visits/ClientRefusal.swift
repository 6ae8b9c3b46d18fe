import NBD

/// Reasons why a client was turned away.
public enum ClientRefusal: Hashable, Sendable {
    /// The server has its maximum of connections, or few descriptors are left.
    case serverFull
    /// The handshake did not lead to an export.
    case handshake(HandshakeRefusal)
    /// The client's handshake has taken too long, or its TLS has failed.
    case ended(ClientEnd)

    /// All reasons that a server gives.
    public static let all: [ClientRefusal] =
        [.serverFull, .ended(.stalled), .ended(.malformed)] + HandshakeRefusal.allCases.map { .handshake($0) }

    /// One lower-case word or two with a hyphen, from a fixed set.
    public var name: String {
        switch self {
        case .serverFull: "server-full"
        case .handshake(let refusal): refusal.rawValue
        case .ended(let end): end.rawValue
        }
    }
}
