import Peer

/// A forwarding connection that has not asked for anything.
struct IdleForwarder: Sendable {
    let number: UInt64
    let connection: PeerConnection
}
