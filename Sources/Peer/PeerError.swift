/// The link to a peer failed.
public enum PeerError: Error, CustomStringConvertible {
    /// Nobody answers there.
    case unreachable(PeerAddress, reason: String)
    /// The connection ended in the middle.
    case cut
    /// What came is no frame.
    case malformed(String)
    /// Without TLS nothing may leave the machine (invariant 11).
    case notLoopback(PeerAddress)
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
            "the peer link has no TLS yet, so only loopback addresses are allowed, and \(address) is not one; "
                + "use 127.0.0.1 or [::1]"
        case .cannotListen(let address, let reason):
            "cannot listen for peers on \(address): \(reason); choose another --peer-listen address"
        }
    }
}
