import Synchronization

/// The time for which a loop takes part in no further move, so that the figures of its load catch up. A loop that gives
/// sessions and the one that gets them both rest. Any thread may use it.
final class LoopRest: Sendable {
    private let end = Atomic<UInt64>(0)

    /// Whether the loop rests at `now`, in nanoseconds of the monotonic clock.
    func isResting(at now: UInt64) -> Bool { end.load(ordering: .relaxed) > now }

    /// Lets `giver` and `taker` rest, unless one of them does already.
    /// - Parameter nanoseconds: the length of the rest.
    /// - Returns: whether both begin to rest; otherwise nothing has changed.
    static func claim(_ giver: LoopRest, _ taker: LoopRest, at now: UInt64, for nanoseconds: UInt64) -> Bool {
        guard giver.begin(at: now, for: nanoseconds) else { return false }
        guard taker.begin(at: now, for: nanoseconds) else {
            giver.end.store(now, ordering: .relaxed)
            return false
        }
        return true
    }

    private func begin(at now: UInt64, for nanoseconds: UInt64) -> Bool {
        let seen = end.load(ordering: .relaxed)
        guard seen <= now else { return false }
        return end.compareExchange(expected: seen, desired: now + nanoseconds, ordering: .acquiringAndReleasing)
            .exchanged
    }
}
