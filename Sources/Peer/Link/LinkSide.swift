import NIOCore
import NIOSSL
import PeerModel

/// Which end of a connection this node is, with what that end needs.
enum LinkSide: Sendable {
    /// It has connected to that address.
    case connecting(PeerAddress, PeerProtection)
    /// It has been connected to; strangers wait in the lobby.
    case accepting(Lobby, PeerProtection)

    /// The longest frame until the connection is known to need longer ones. Bytes.
    var firstFrame: Int {
        switch self {
        case .connecting: PeerConnection.ordinaryFrame
        case .accepting: PeerConnection.openingFrame
        }
    }

    /// Whom this node means to reach; nil where it was connected to.
    var host: String? { if case .connecting(let address, _) = self { address.host } else { nil } }

    /// The handler that encrypts; nil where nothing does. To be called on the channel's event loop.
    func encryption() throws -> NIOSSLHandler? {
        switch self {
        case .connecting(let address, .tls(let certificates)):
            // The certificate must name what the user named; for an address it is compared with the socket's.
            let isAddress = (try? SocketAddress(ipAddress: address.host, port: 0)) != nil
            return try NIOSSLClientHandler(
                context: certificates.client(), serverHostname: isAddress ? nil : address.host)
        case .accepting(_, .tls(let certificates)):
            return try NIOSSLServerHandler(context: certificates.server())
        case .connecting(_, .unusable(let problem)), .accepting(_, .unusable(let problem)):
            throw problem
        case .connecting, .accepting:
            return nil
        }
    }

    /// A name may stand for another machine's address, whatever it looks like.
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
