import NIOCore
import PeerModel
import TLS

/// The end of a connection that this node is, with what that end needs.
enum LinkSide: Sendable {
    /// It has connected to that address.
    case connecting(PeerAddress, PeerProtection)
    /// It was connected to; strangers are among the connections.
    case accepting(PreAuthConnections, PeerProtection)

    /// The longest frame until the connection is known to need longer ones. Bytes.
    var firstFrame: Int {
        switch self {
        case .connecting: PeerConnection.ordinaryFrame
        case .accepting: PeerConnection.openingFrame
        }
    }

    /// The host that this node means to reach; nil if it was connected to.
    var host: String? { if case .connecting(let address, _) = self { address.host } else { nil } }

    /// The end of the certificate that this node shows, in seconds since 1970; nil if it shows none.
    var ownEnd: Int64? {
        switch self {
        case .connecting(_, .tls(let certificates)): (try? certificates.client())?.expiry.own
        case .accepting(_, .tls(let certificates)): (try? certificates.server())?.expiry.own
        case .connecting, .accepting: nil
        }
    }

    /// Makes the handler that encrypts; nil where nothing is encrypted. To be called on the channel's event loop.
    func encryption() throws -> TLSHandler? {
        switch self {
        case .connecting(let address, .tls(let certificates)):
            return try TLSHandler(client: certificates.client(), connectingTo: Self.name(of: address))
        case .accepting(_, .tls(let certificates)):
            return try TLSHandler(server: certificates.server())
        case .connecting(_, .unusable(let problem)), .accepting(_, .unusable(let problem)):
            throw problem
        case .connecting, .accepting:
            return nil
        }
    }

    /// The certificate must name what the user named.
    static func name(of address: PeerAddress) -> TLSName {
        switch try? SocketAddress(ipAddress: address.host, port: 0) {
        case .v4(let v4): .address(withUnsafeBytes(of: v4.address.sin_addr) { Array($0) })
        case .v6(let v6): .address(withUnsafeBytes(of: v6.address.sin6_addr) { Array($0) })
        // No certificate has the period that may end a name in DNS.
        default: .host(address.host.hasSuffix(".") ? String(address.host.dropLast()) : address.host)
        }
    }

    /// Checks the addresses at both ends, because a name may stand for another machine's address, whatever it looks like.
    /// - Throws: `PeerError` where the connection has to stay on this machine and does not.
    func checkAddresses(of channel: any Channel) throws {
        switch self {
        case .connecting(let address, .loopback):
            // A connection that is gone already has no address.
            guard channel.remoteAddress != nil else { throw PeerError.cut }
            guard Self.isLoopback(channel.remoteAddress) else { throw PeerError.notLoopback(address) }
        case .accepting(_, .loopback):
            guard Self.isLoopback(channel.remoteAddress) else { throw PeerError.cut }
        case .connecting, .accepting:
            break
        }
    }

    static func isLoopback(_ address: SocketAddress?) -> Bool {
        address?.ipAddress.map { PeerAddress(host: $0, port: 0).isLoopback } ?? false
    }
}
