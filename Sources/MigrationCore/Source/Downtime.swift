/// Decides how long the guest of a disk may be held back at the switchover, and foresees how long it would be.
package struct Downtime: Equatable, Sendable {
    /// Allowed beside two round trips, unless the operator says how long.
    private static let standard = Duration.milliseconds(50)
    /// Spent beside the round trips and the sending.
    private static let fixed = Duration.milliseconds(10)
    /// A silent destination is given up no sooner. Later, if a longer downtime is allowed or expected.
    private static let shortestFence = Duration.seconds(10)

    /// The longest that the operator allows; nil if that is not said.
    private let allowed: Duration?
    /// The disks that are sent behind the fence at the same time, each as much; at least 1.
    private let disks: Int
    /// The time of a message to the destination and back, as far as it is known.
    package var roundTrip = Duration.zero

    package init(allowed: Duration?, disks: Int) {
        self.allowed = allowed
        self.disks = disks
    }

    /// The measurements after a round.
    /// - Parameters:
    ///   - dirty: bytes that are left.
    ///   - settled: bytes of these that are not hot, as counted before or after `dirty`.
    ///   - sending: the time that it would take to send what is left.
    ///   - threshold: bytes that may be left, whatever they take.
    package func situation(
        dirty: UInt64, settled: UInt64, sending: Duration, threshold: UInt64
    ) -> SourceMachine.Situation {
        SourceMachine.Situation(
            expectedPause: expected(sending: sending).inSeconds,
            maximumPause: (allowed ?? roundTrip * 2 + Self.standard).inSeconds,
            leastPause: expected(sending: .zero).inSeconds,
            // The guest may have written between the two counts.
            dirty: dirty, settled: min(dirty, settled), threshold: threshold)
    }

    /// The time for which the guest waits for a silent destination before the migration is given up.
    /// - Parameter sending: the time that it would take to send what goes over behind the fence.
    package func longestFence(sending: Duration) -> Duration {
        max(Self.shortestFence, max(allowed ?? .zero, sending * disks + Self.fixed) * 2)
    }

    private func expected(sending: Duration) -> Duration { sending * disks + roundTrip * 2 + Self.fixed }
}
