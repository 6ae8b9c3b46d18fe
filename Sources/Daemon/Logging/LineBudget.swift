/// Limits how many lines one origin may add to a log: a token bucket. Does no I/O and reads no clock.
struct LineBudget {
    /// Decision about a line.
    enum Verdict: Equatable {
        /// Write it; `leftOut` lines were left out since the last written one.
        case write(leftOut: Int)
        /// Leave it out.
        case leaveOut
    }

    /// Lines that may be written at once.
    static let stock = 200.0
    /// Lines a second after that.
    static let perSecond = 2.0

    private var left = stock
    private var leftOut = 0
    private var last: ContinuousClock.Instant?

    /// Decides about the next line, and counts it.
    mutating func decide(at now: ContinuousClock.Instant) -> Verdict {
        if let last, now > last {
            let elapsed = last.duration(to: now).components
            let seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
            left = min(Self.stock, left + seconds * Self.perSecond)
        }
        last = max(last ?? now, now)
        guard left >= 1 else {
            leftOut = leftOut == .max ? .max : leftOut + 1
            return .leaveOut
        }
        left -= 1
        defer { leftOut = 0 }
        return .write(leftOut: leftOut)
    }
}
