/// How many lines somebody may still cause in a log: a stock that fills again slowly. Does nothing itself.
struct LineBudget {
    /// What becomes of a line.
    enum Verdict: Equatable {
        /// It is written, and before it how many have been left out since the last one.
        case write(leftOut: Int)
        /// It is left out.
        case leaveOut
    }

    /// Lines at once.
    static let stock = 200.0
    /// Lines a second afterwards.
    static let perSecond = 2.0

    private var left = stock
    private var leftOut = 0
    private var last: ContinuousClock.Instant?

    /// Another line is to be written.
    mutating func take(at now: ContinuousClock.Instant) -> Verdict {
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
