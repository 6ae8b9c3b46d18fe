/// Measures the rate at which blocks become dirty and must be sent again.
package struct DirtyRate {
    /// A rate over a shorter time is not reliable.
    private static let shortest = Duration.milliseconds(50)

    private var roundBegan: ContinuousClock.Instant
    private var lastRound: Double?
    /// Dirty bytes that the current round leaves for later.
    private var left: UInt64 = 0

    package init(from start: ContinuousClock.Instant) { roundBegan = start }

    /// Begins a round that leaves `bytes` dirty bytes for later.
    package mutating func beginRound(leaving bytes: UInt64) { left = bytes }

    /// Ends a round. `dirty` are the bytes dirty now: those that the round left, and those written meanwhile.
    package mutating func endRound(_ dirty: UInt64, at now: ContinuousClock.Instant) {
        let dirty = dirty - min(dirty, left)
        lastRound = Self.rate(dirty, roundBegan.duration(to: now)) ?? lastRound
        roundBegan = now
    }

    /// Bytes a second in the last round; during the first round, since its beginning.
    package func bytesPerSecond(_ dirty: UInt64, at now: ContinuousClock.Instant) -> Double {
        lastRound ?? Self.rate(dirty, roundBegan.duration(to: now)) ?? 0
    }

    private static func rate(_ bytes: UInt64, _ time: Duration) -> Double? {
        time < shortest ? nil : Double(bytes) / time.inSeconds
    }
}
