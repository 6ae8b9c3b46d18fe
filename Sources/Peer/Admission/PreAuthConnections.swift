import NIOConcurrencyHelpers
import NIOCore

/// Who is connected to a listener. Those that have not said yet what they want wait in the connections: strangers may be among
/// them, so there are few, and each for a short time. When one more comes, the oldest of the address with most of them goes:
/// those who say nothing, however fast they come again, can't keep out those who do, from elsewhere.
final class PreAuthConnections: Sendable {
    private struct State {
        var waiting: WaitingPlaces<PeerIdentity, any Channel>
        var admitted: PeerCounts<PeerIdentity>
    }

    /// How long a connection may take to encrypt and to say what it wants.
    static let patience = TimeAmount.seconds(10)

    private let saidNothing: @Sendable (any Channel) -> Void
    private let state: NIOLockedValueBox<State>

    /// - Parameter saidNothing: told of connections that are closed because they have not said what they want in time.
    init(
        waitingLimit: Int, admittedLimit: Int, admittedPerPeer: Int = .max,
        saidNothing: @escaping @Sendable (any Channel) -> Void = { _ in }
    ) {
        self.saidNothing = saidNothing
        state = NIOLockedValueBox(
            State(
                waiting: WaitingPlaces(limit: waitingLimit),
                admitted: PeerCounts(limit: admittedLimit, limitPerPeer: admittedPerPeer)))
    }

    /// Takes a new connection in, and closes another, or this one, where there are too many.
    func enter(_ channel: any Channel) {
        // Nobody has shown a certificate yet.
        let address = PeerIdentity(of: channel.remoteAddress)
        let excess = state.withLockedValue { $0.waiting.enter(channel, of: address) }
        excess?.abortConnection()
    }

    /// The connection has used up its time.
    func expel(_ channel: any Channel) {
        saidNothing(channel)
        channel.abortConnection()
    }

    /// The connection has gone without a word.
    func leave(_ channel: any Channel) {
        state.withLockedValue { state in state.waiting.leave { $0 === channel } }
    }

    /// The connection has said what it wants.
    /// - Returns: whether there is room for it; if so, `end` must be called once.
    func admit(_ channel: any Channel, of peer: PeerIdentity) -> Bool {
        state.withLockedValue { state in
            state.waiting.leave { $0 === channel }
            return state.admitted.take(peer)
        }
    }

    /// A connection of `peer` that was admitted has gone.
    func end(_ peer: PeerIdentity) {
        state.withLockedValue { $0.admitted.giveBack(peer) }
    }
}
