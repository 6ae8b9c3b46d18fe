/// Limits how often one problem is reported: at once, and then once a minute with the number of times. Reads no clock.
struct RepeatLimit {
    /// Decision about an occurrence.
    enum Verdict: Equatable {
        /// Report it, together with those that were not reported: so many in all.
        case report(UInt64)
        /// It came too soon: call `takeOverdue` at that time.
        case later(ContinuousClock.Instant)
        /// It came too soon, and somebody will call already.
        case wait
    }

    static let interval = Duration.seconds(60)

    private var count: UInt64 = 0
    private var next: ContinuousClock.Instant?
    private var isAwaited = false

    /// Counts an occurrence.
    mutating func decide(at now: ContinuousClock.Instant) -> Verdict {
        count &+= 1
        if let next, now < next {
            guard !isAwaited else { return .wait }
            isAwaited = true
            return .later(next)
        }
        return .report(take(at: now))
    }

    /// Returns the number of occurrences that have not been reported; 0 if there is none.
    mutating func takeOverdue(at now: ContinuousClock.Instant) -> UInt64 {
        isAwaited = false
        return count == 0 ? 0 : take(at: now)
    }

    private mutating func take(at now: ContinuousClock.Instant) -> UInt64 {
        next = now + Self.interval
        defer { count = 0 }
        return count
    }
}
