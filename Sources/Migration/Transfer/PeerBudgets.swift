import NIOConcurrencyHelpers
import Peer
import PeerModel

/// The memory budgets of the peers: each is shared by a peer's forwarding links and the long answers that it sends.
final class PeerBudgets: Sendable {
    private struct Entry {
        weak var budget: ByteBudget?
    }

    private let entries = NIOLockedValueBox<[PeerIdentity: Entry]>([:])

    /// The budget of a peer, which exists as long as a connection uses it.
    func budget(of peer: PeerIdentity) -> ByteBudget {
        entries.withLockedValue { entries in
            if let budget = entries[peer]?.budget { return budget }
            entries = entries.filter { $0.value.budget != nil }
            let budget = ByteBudget(PeerLimits.forwardedBytesPerPeer)
            entries[peer] = Entry(budget: budget)
            return budget
        }
    }
}
