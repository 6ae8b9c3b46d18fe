import MigrationProtocol
import PeerModel

/// Decides when a link tries to go to its destination's successor.
///
/// It tries at once, and then ever more seldom. Another successor is tried soon, but no sooner than a second after the
/// last attempt, whatever the destination says (invariant 10).
package struct SuccessorSearch {
    package static let firstDelay = Duration.seconds(1)
    package static let longestDelay = Duration.seconds(60)

    /// The successor that was named last; nil for none.
    package private(set) var target: Successor?
    /// Why it can't be used; nil where it has not been tried yet.
    package private(set) var problem: String?
    private var delay = firstDelay
    private var lastAttempt: ContinuousClock.Instant?

    package init() {}

    /// The destination names its successor.
    /// - Returns: whether that is news.
    package mutating func heard(_ successor: Successor, from destination: PeerAddress) -> Bool {
        guard successor != target else { return false }
        delay = Self.firstDelay
        problem = nil
        // A node does not succeed itself.
        target = successor.address == destination ? nil : successor
        return target != nil
    }

    /// The time until the next attempt; nil if there is nothing to try.
    package func wait(at now: ContinuousClock.Instant) -> Duration? {
        guard target != nil else { return nil }
        guard let lastAttempt else { return .zero }
        return max(.zero, now.duration(to: lastAttempt + delay))
    }

    /// An attempt begins.
    package mutating func began(at now: ContinuousClock.Instant) { lastAttempt = now }

    /// An attempt has failed.
    /// - Returns: whether the reason is another than the last time.
    package mutating func failed(_ reason: String, for tried: Successor, at now: ContinuousClock.Instant) -> Bool {
        lastAttempt = now
        // The attempt was about a node that is no longer the successor.
        guard tried == target else { return false }
        defer { problem = reason }
        if problem != nil { delay = min(delay * 2, Self.longestDelay) }
        return problem != reason
    }

    /// The link has gone there.
    package mutating func succeeded() { self = SuccessorSearch() }
}
