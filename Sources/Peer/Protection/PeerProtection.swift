import PeerModel

/// The protection of the link to peers, which decides what may leave the machine (invariant 11).
public enum PeerProtection: Sendable {
    /// No encryption, and therefore only this machine's own addresses.
    case loopback
    /// No encryption, and any address: the operator has said so.
    case insecure
    /// TLS 1.3 with the certificates of both sides.
    case tls(PeerCertificates)
    /// TLS is wanted, and its files can't be used: no connection comes about.
    case unusable(PeerError)

    /// Checks whether peers may be let in at an address.
    /// - Throws: `PeerError` if not.
    public func checkListening(on address: PeerAddress) throws {
        switch self {
        case .loopback: guard address.isLoopback else { throw PeerError.notLoopback(address) }
        case .insecure: break
        case .tls(let certificates): _ = try certificates.server()
        case .unusable(let problem): throw problem
        }
    }

    /// Checks whether anything may be sent to an address.
    /// - Throws: `PeerError` if not.
    public func checkConnecting(to address: PeerAddress) throws {
        switch self {
        case .loopback: guard address.isLoopback else { throw PeerError.notLoopback(address) }
        case .insecure: break
        case .tls(let certificates): _ = try certificates.client()
        case .unusable(let problem): throw problem
        }
    }
}
