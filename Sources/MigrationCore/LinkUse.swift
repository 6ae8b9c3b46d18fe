import PeerModel

/// Whether a link had something to do, and what it carried, from what TCP says whenever more is about to be sent: the kernel
/// takes some MiB at once, so that what sending takes says little about a link. Does nothing itself.
package struct LinkUse {
    /// The time between two batches.
    package struct Stretch: Equatable {
        /// Whether something waited for the link all the time.
        package var wasFull = false
        /// Bytes that it carried in so many seconds, where something waited all the time.
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

    /// By how much longer than a batch was waited for there may have been nothing to send.
    private static let tolerated = Duration.milliseconds(20)

    private var last: (acknowledged: UInt64, at: ContinuousClock.Instant)?
    private var sentAt: ContinuousClock.Instant?

    package init() {}

    /// More is about to be sent.
    /// - Parameters:
    ///   - path: nil where TCP does not say.
    ///   - idle: how long what is about to be sent was waited for, after what was sent before.
    /// - Returns: the time since more was about to be sent before. Where there was nothing to send for a part of it, it says
    ///   nothing of what the link carries.
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

    /// What was about to be sent has been taken.
    package mutating func sent(at now: ContinuousClock.Instant) { sentAt = now }
}
