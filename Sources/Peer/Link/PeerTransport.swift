import NIOConcurrencyHelpers
import NIOCore

/// The event loops and the protection of a node's connections with its peers.
public final class PeerTransport: Sendable {
    /// Runs the connections.
    public let group: any EventLoopGroup
    private let current: NIOLockedValueBox<PeerProtection>

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
}
