import NIOConcurrencyHelpers
import NIOCore

/// The connections of a listener: those that have not brought a first frame yet, and a count of those that have.
///
/// Strangers may be among the first: few may wait, each for a short time. One more displaces the oldest of the address
/// that has most of them. Silent connections can't keep out peers from elsewhere, however fast they come again. Any thread
/// may use it.
final class PreAuthConnections: Sendable {
    private struct State {
        var waiting: WaitingPlaces<PeerIdentity, any Channel>
        var admitted: PeerCounts<PeerIdentity>
    }

    /// The longest time that a connection may take to encrypt and to bring its first frame.
    static let patience = TimeAmount.seconds(10)

    private let saidNothing: @Sendable (any Channel) -> Void
    private let state: NIOLockedValueBox<State>

    /// - Parameters:
    ///   - waitingLimit: connections at once without a first frame.
    ///   - admittedLimit, admittedPerPeer: connections at once with one.
    ///   - saidNothing: told of connections that are closed because their first frame has not come in time.
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

    /// Adds a new connection, and closes another one, or this one, if there are too many.
    func enter(_ channel: any Channel) {
        // No certificate has been shown yet.
        let address = PeerIdentity(of: channel.remoteAddress)
        let excess = state.withLockedValue { $0.waiting.enter(channel, of: address) }
        excess?.abortConnection()
    }

    /// Closes a connection that has used up its time.
    func expel(_ channel: any Channel) {
        saidNothing(channel)
        channel.abortConnection()
    }

    /// Removes a connection that has gone without a first frame.
    func leave(_ channel: any Channel) {
        state.withLockedValue { state in state.waiting.leave { $0 === channel } }
    }

    /// Counts a connection that has brought its first frame among those of its peer.
    /// - Returns: whether there is room for it; if so, `end` must be called once.
    func admit(_ channel: any Channel, of peer: PeerIdentity) -> Bool {
        state.withLockedValue { state in
            state.waiting.leave { $0 === channel }
            return state.admitted.take(peer)
        }
    }

    /// Gives the place of an admitted connection of `peer` back.
    func end(_ peer: PeerIdentity) {
        state.withLockedValue { $0.admitted.giveBack(peer) }
    }
}
