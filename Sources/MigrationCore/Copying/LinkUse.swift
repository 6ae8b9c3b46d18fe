import PeerModel

/// Judges whether a link was busy, and how much it carried, from TCP's counters before each sending. The kernel takes
/// some MiB at once, so the time for sending says little about a link.
package struct LinkUse {
    /// The time between two batches.
    package struct Stretch: Equatable {
        /// Whether something was waiting for the link all the time.
        package var wasFull = false
        /// Bytes carried and the seconds for them, if something was waiting all the time.
        package var carried: UInt64 = 0
        package var seconds = 0.0
        /// TCP's delivery rate in bytes a second (`PathState`).
        package var bytesPerSecond: UInt64 = 0

        package init(wasFull: Bool = false, carried: UInt64 = 0, seconds: Double = 0.0, bytesPerSecond: UInt64 = 0) {
            self.wasFull = wasFull
            self.carried = carried
            self.seconds = seconds
            self.bytesPerSecond = bytesPerSecond
        }
    }

    /// Tolerated difference between the time since the last sending and the time for which the next data was waited
    /// for.
    private static let tolerated = Duration.milliseconds(20)

    private var last: (acknowledged: UInt64, at: ContinuousClock.Instant)?
    private var sentAt: ContinuousClock.Instant?

    package init() {}

    /// Measures the link just before more is sent.
    /// - Parameters:
    ///   - path: nil if TCP's counters are not available.
    ///   - idle: how long the sender waited for the next data after the data before.
    /// - Returns: the use since the last call. If there was nothing to send for a part of that time, it has no rate.
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

    /// Records that the link has taken the data.
    package mutating func sent(at now: ContinuousClock.Instant) { sentAt = now }
}
