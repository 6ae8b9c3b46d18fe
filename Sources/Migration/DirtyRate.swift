/// How fast a guest writes what must then be sent again. Does nothing itself.
struct DirtyRate {
    /// Less says little.
    private static let shortest = Duration.milliseconds(50)

    private var roundBegan: ContinuousClock.Instant
    private var lastRound: Double?

    init(from start: ContinuousClock.Instant) { roundBegan = start }

    /// A round has ended with so many dirty bytes: all that was written while it went on, but for what it has sent.
    mutating func endRound(_ dirty: UInt64, at now: ContinuousClock.Instant) {
        lastRound = Self.rate(dirty, roundBegan.duration(to: now)) ?? lastRound
        roundBegan = now
    }

    /// Bytes a second: those of the last round, or so far in the first.
    func bytesPerSecond(_ dirty: UInt64, at now: ContinuousClock.Instant) -> Double {
        lastRound ?? Self.rate(dirty, roundBegan.duration(to: now)) ?? 0
    }

    private static func rate(_ bytes: UInt64, _ time: Duration) -> Double? {
        time < shortest ? nil : Double(bytes) / time.inSeconds
    }
}
