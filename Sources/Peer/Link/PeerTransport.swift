import NIOConcurrencyHelpers
import NIOCore

/// How a node reaches its peers and is reached by them.
public final class PeerTransport: Sendable {
    /// Runs the connections.
    public let group: any EventLoopGroup
    private let current: NIOLockedValueBox<PeerProtection>

    /// A transport whose connections are protected so.
    public init(group: any EventLoopGroup, protection: PeerProtection = .loopback) {
        self.group = group
        current = NIOLockedValueBox(protection)
    }

    /// What protects the next connection, in and out; those that are there keep what they have.
    public var protection: PeerProtection {
        get { current.withLockedValue { $0 } }
        set { current.withLockedValue { $0 = newValue } }
    }
}
