import NIOConcurrencyHelpers
import Peer
import PeerModel

/// What the forwarding links of each peer, and the long answers that it sends, share of this node's memory.
final class PeerBudgets: Sendable {
    private struct Entry {
        weak var budget: ByteBudget?
    }

    private let entries = NIOLockedValueBox<[PeerIdentity: Entry]>([:])

    /// The budget of a peer, as long as somebody uses it.
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
