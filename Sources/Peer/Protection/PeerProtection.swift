import PeerModel

/// What protects the link to peers, and so what may leave the machine (invariant 11).
public enum PeerProtection: Sendable {
    /// Nothing, and therefore only this machine's own addresses.
    case loopback
    /// Nothing, and any address: the operator has said so.
    case insecure
    /// TLS 1.3 with the certificates of both sides.
    case tls(PeerCertificates)
    /// TLS is wanted, and its files don't do: nobody gets through.
    case unusable(PeerError)

    /// - Throws: `PeerError` where nobody may be let in at that address.
    public func checkListening(on address: PeerAddress) throws {
        switch self {
        case .loopback: guard address.isLoopback else { throw PeerError.notLoopback(address) }
        case .insecure: break
        case .tls(let certificates): _ = try certificates.server()
        case .unusable(let problem): throw problem
        }
    }

    /// - Throws: `PeerError` where nothing may be sent to that address.
    public func checkConnecting(to address: PeerAddress) throws {
        switch self {
        case .loopback: guard address.isLoopback else { throw PeerError.notLoopback(address) }
        case .insecure: break
        case .tls(let certificates): _ = try certificates.client()
        case .unusable(let problem): throw problem
        }
    }
}
