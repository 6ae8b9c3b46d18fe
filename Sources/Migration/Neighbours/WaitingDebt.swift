/// The time for which somebody has waited for another host, against the bytes that the host has given. It reads no clock.
struct WaitingDebt {
    typealias Instant = ContinuousClock.Instant

    /// Bytes a second that a host must give while somebody waits for it.
    let leastRate: Double
    /// The longest that the waits may take beyond what the bytes are worth. Seconds.
    let most: Double
    private var seconds = 0.0
    private var countedUntil: Instant?

    init(leastRate: Double, most: Double) {
        self.leastRate = leastRate
        self.most = most
    }

    /// The longest that the next wait may take.
    var patience: Duration { .seconds(max(0, most - seconds)) }

    /// Whether the waits took too long for what has come.
    var isSpent: Bool { seconds >= most }

    /// Whether the waits were worth it, but for the last ones.
    var isPaid: Bool { seconds < most / 10 }

    /// Notes a wait. Several at the same time count once.
    mutating func wait(from start: Instant, to end: Instant) {
        let from = max(start, countedUntil ?? start)
        countedUntil = max(end, countedUntil ?? end)
        seconds += max(0, (end - from) / .seconds(1))
    }

    /// Notes bytes that have come.
    mutating func pay(bytes: UInt64) { seconds = max(0, seconds - Double(bytes) / leastRate) }

    /// Forgives what is above half of the most.
    mutating func forgiveHalf() { seconds = min(seconds, most / 2) }
}
