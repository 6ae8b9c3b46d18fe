import Peer

/// Whether a link had something to do, and what it carried, from what TCP says whenever more is about to be sent: the kernel
/// takes some MiB at once, so that what sending takes says little about a link. Does nothing itself.
struct LinkUse {
    /// The time between two batches.
    struct Stretch: Equatable {
        /// Whether something waited for the link all the time.
        var wasFull = false
        /// Bytes that it carried in so many seconds, where something waited all the time.
        var carried: UInt64 = 0
        var seconds = 0.0
        /// Bytes that it carried a second of late, by what TCP says; no more than were sent.
        var bytesPerSecond: UInt64 = 0
    }

    private var last: (acknowledged: UInt64, at: ContinuousClock.Instant)?

    /// More is about to be sent.
    /// - Parameter path: nil where TCP does not say.
    /// - Returns: the time since it was so before.
    mutating func next(_ path: PathState?, at now: ContinuousClock.Instant) -> Stretch {
        guard let path else {
            last = nil
            return Stretch()
        }
        defer { last = (path.acknowledged, now) }
        guard path.unsent > 0 else { return Stretch(bytesPerSecond: path.bytesPerSecond) }
        guard let last else { return Stretch(wasFull: true, bytesPerSecond: path.bytesPerSecond) }
        return Stretch(
            wasFull: true, carried: path.acknowledged - min(path.acknowledged, last.acknowledged),
            seconds: last.at.duration(to: now).inSeconds, bytesPerSecond: path.bytesPerSecond)
    }
}
