import PeerModel

/// The link to a peer failed.
public enum PeerError: Error, CustomStringConvertible {
    /// No peer answers at that address.
    case unreachable(PeerAddress, reason: String)
    /// The connection ended in the middle.
    case cut
    /// The peer's bytes are no frame.
    case malformed(String)
    /// Without TLS nothing may leave the machine (invariant 11).
    case notLoopback(PeerAddress)
    /// Certificates or keys can't be used.
    case certificates(String)
    /// One side does not accept the other; the reason calls the peer "it".
    case handshake(String)
    /// An NBD server listens at that address.
    case nbdServer(PeerAddress)
    /// The address can't be listened on.
    case cannotListen(PeerAddress, reason: String)

    /// One line for the user.
    public var description: String {
        switch self {
        case .unreachable(let address, let reason):
            "cannot reach the peer at \(address): \(reason); is the other node running with --peer-listen?"
        case .cut:
            "the link to the peer was cut"
        case .malformed(let what):
            "the peer sent something that is not understood: \(what)"
        case .notLoopback(let address):
            "without TLS the peer link stays on this machine, and \(address) is not a loopback address; give both nodes "
                + "--peer-tls DIR or --tls DIR, or say --insecure-peer where nobody else can reach the network"
        case .certificates(let what):
            what
        case .handshake(let reason):
            "no safe link to the peer: \(reason)"
        case .nbdServer(let address):
            "\(address) is the port of an NBD server, which serves clients and takes no disks in; give --to the address "
                + "of the other node's --peer-listen"
        case .cannotListen(let address, let reason):
            "cannot listen for peers on \(address): \(reason); choose another --peer-listen address"
        }
    }
}
