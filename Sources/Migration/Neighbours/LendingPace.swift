import NIOConcurrencyHelpers

/// Limits the rate at which a host lends bytes to all others together. Any thread may use it.
package final class LendingPace: Sendable {
    /// The time that may be made up for after a pause: bursts are this long.
    private static let burst = Duration.milliseconds(20)
    /// The time by which short reads may be ahead of the limit: a client may wait for them.
    private static let headStart = Duration.milliseconds(50)
    /// Bytes of the longest short read.
    private static let shortRead = Int(LentPieces.length)

    private let bytesPerSecond: UInt64?
    /// The moment at which all that was lent so far is within the limit.
    private let free = NIOLockedValueBox(ContinuousClock.now)

    /// - Parameter bytesPerSecond: Nil for no limit; 0 counts as 1.
    package init(bytesPerSecond: UInt64?) {
        self.bytesPerSecond = bytesPerSecond.map { max(1, $0) }
    }

    /// Books bytes that are about to be lent. All count; a short read need not wait for the long ones before it.
    /// - Returns: The moment until which to wait first.
    func book(_ count: Int, now: ContinuousClock.Instant = .now) -> ContinuousClock.Instant {
        guard let bytesPerSecond else { return now }
        let time = Duration.seconds(Double(count) / Double(bytesPerSecond))
        return free.withLockedValue { free in
            let begin = max(free, now - Self.burst)
            free = begin + time
            return max(count <= Self.shortRead ? begin - Self.headStart : begin, now)
        }
    }
}
