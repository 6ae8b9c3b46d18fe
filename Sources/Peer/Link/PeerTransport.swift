import NIOConcurrencyHelpers
import NIOCore

/// The event loops and the protection of a node's connections with its peers.
public final class PeerTransport: Sendable {
    /// Runs the connections.
    public let group: any EventLoopGroup
    private let current: NIOLockedValueBox<PeerProtection>
    /// The local addresses of the connections that were opened, while they stand.
    private let opened = NIOLockedValueBox<[SocketAddress]>([])

    /// Makes a transport whose connections have this protection.
    public init(group: any EventLoopGroup, protection: PeerProtection = .loopback) {
        self.group = group
        current = NIOLockedValueBox(protection)
    }

    /// The protection of the next connection, in and out; open connections keep what they have. Used from any thread.
    public var protection: PeerProtection {
        get { current.withLockedValue { $0 } }
        set { current.withLockedValue { $0 = newValue } }
    }

    /// Keeps the address of a connection that this transport has opened, until it is closed.
    func record(opened channel: any Channel) {
        guard let address = channel.localAddress else { return }
        opened.withLockedValue { $0.append(address) }
        channel.closeFuture.whenComplete { [opened] _ in
            opened.withLockedValue { addresses in
                if let index = addresses.firstIndex(of: address) { addresses.remove(at: index) }
            }
        }
    }

    /// Whether this transport itself has opened a connection that it has accepted: an address then led back here, by
    /// whatever name. Used from any thread.
    package func hasOpened(_ connection: PeerConnection) -> Bool {
        guard let remote = connection.remote else { return false }
        return opened.withLockedValue { $0.contains(remote) }
    }
}
