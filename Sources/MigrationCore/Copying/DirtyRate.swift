/// Measures how fast a guest writes blocks that must then be sent again. Does nothing itself.
package struct DirtyRate {
    /// A shorter time says little.
    private static let shortest = Duration.milliseconds(50)

    private var roundBegan: ContinuousClock.Instant
    private var lastRound: Double?
    /// Dirty bytes that the round does not go over.
    private var left: UInt64 = 0

    package init(from start: ContinuousClock.Instant) { roundBegan = start }

    /// A round begins that leaves so many dirty bytes for later.
    package mutating func beginRound(leaving bytes: UInt64) { left = bytes }

    /// A round has ended with this many dirty bytes: those it has left, and those written meanwhile.
    package mutating func endRound(_ dirty: UInt64, at now: ContinuousClock.Instant) {
        let dirty = dirty - min(dirty, left)
        lastRound = Self.rate(dirty, roundBegan.duration(to: now)) ?? lastRound
        roundBegan = now
    }

    /// Bytes a second in the last round; during the first round, so far.
    package func bytesPerSecond(_ dirty: UInt64, at now: ContinuousClock.Instant) -> Double {
        lastRound ?? Self.rate(dirty, roundBegan.duration(to: now)) ?? 0
    }

    private static func rate(_ bytes: UInt64, _ time: Duration) -> Double? {
        time < shortest ? nil : Double(bytes) / time.inSeconds
    }
}
