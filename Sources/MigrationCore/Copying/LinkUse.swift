import PeerModel

/// Judges whether a link was busy, and how much it carried, from what TCP says whenever more is about to be sent. The
/// kernel takes some MiB at once, so the time for sending says little about a link. Does nothing itself.
package struct LinkUse {
    /// The time between two batches.
    package struct Stretch: Equatable {
        /// Whether something was waiting for the link all the time.
        package var wasFull = false
        /// Bytes carried and the seconds for them, if something was waiting all the time.
        package var carried: UInt64 = 0
        package var seconds = 0.0
        /// Bytes a second, as `PathState` has them.
        package var bytesPerSecond: UInt64 = 0

        package init(wasFull: Bool = false, carried: UInt64 = 0, seconds: Double = 0.0, bytesPerSecond: UInt64 = 0) {
            self.wasFull = wasFull
            self.carried = carried
            self.seconds = seconds
            self.bytesPerSecond = bytesPerSecond
        }
    }

    /// The link may have been idle for as much longer than a batch was waited for.
    private static let tolerated = Duration.milliseconds(20)

    private var last: (acknowledged: UInt64, at: ContinuousClock.Instant)?
    private var sentAt: ContinuousClock.Instant?

    package init() {}

    /// More is about to be sent.
    /// - Parameters:
    ///   - path: nil where TCP does not say.
    ///   - idle: how long the next data was waited for, after the data before.
    /// - Returns: the time since the last call. If there was nothing to send for a part of it, it says nothing about
    ///   the rate.
    package mutating func next(_ path: PathState?, idle: Duration, at now: ContinuousClock.Instant) -> Stretch {
        guard let path else {
            last = nil
            return Stretch()
        }
        defer { last = (path.acknowledged, now) }
        var stretch = Stretch(wasFull: path.unsent > 0, bytesPerSecond: path.bytesPerSecond)
        if stretch.wasFull, let last, let sentAt, sentAt.duration(to: now) <= idle + Self.tolerated {
            stretch.carried = path.acknowledged - min(path.acknowledged, last.acknowledged)
            stretch.seconds = last.at.duration(to: now).inSeconds
        }
        return stretch
    }

    /// The data that was about to be sent has been taken.
    package mutating func sent(at now: ContinuousClock.Instant) { sentAt = now }
}
