import Glibc

/// How long the copying of a disk will still take, from how it went so far. Does nothing itself.
///
/// Where the link limits, what matters is what blocks come to on it, which nobody knows before they are compressed: a sample of
/// each segment says how the segments compare. Where the processor limits, it is how many they are. How long each of the two
/// takes is what it took lately: a link may change, and at first a fast one waits for the fingerprints.
struct CopyForecast: Equatable {
    /// Sent for less than this, blocks say little about the link, as long as the destination has not answered for all of
    /// the disk. Seconds.
    private static let enough = 2.0
    /// What was sent so long ago counts for 1/e. Seconds of sending.
    private static let memory = 4.0
    /// From the last block sent to the hand-over: the destination writes what has come, and both compare. Seconds.
    private static let closing = 0.2

    /// Bytes of the disk that may not be zero.
    var data: UInt64 = 0
    /// Of these, what the destination has answered for.
    private var answered: UInt64 = 0
    /// Of these, what it wants, and what of that has been sent.
    private var wanted = Amount()
    private var answers = Amount()
    /// Seconds from the beginning to the last answer.
    private var answering = 0.0
    /// All that was sent, and the seconds that the link took for it and that the link was idle because of it, with what was
    /// long ago counting less.
    private var sent = Amount()
    private var waiting = 0.0
    private var idle = 0.0
    /// Seconds of sending in all.
    private var sending = 0.0

    /// Blocks.
    private struct Amount: Equatable {
        var bytes = 0.0
        /// Bytes that they may come to compressed.
        var weight = 0.0

        static func += (sum: inout Amount, other: Amount) {
            sum.bytes += other.bytes
            sum.weight += other.weight
        }

        static func *= (amount: inout Amount, factor: Double) {
            amount.bytes *= factor
            amount.weight *= factor
        }
    }

    /// The destination has answered.
    /// - Parameters:
    ///   - answered: bytes of blocks.
    ///   - wanted: bytes of those that it wants.
    ///   - ratio: what these may come to compressed, by their size.
    ///   - seconds: from the beginning.
    mutating func note(answered: UInt64, wanted: UInt64, ratio: Double, after seconds: Double) {
        self.answered += answered
        self.wanted += Amount(bytes: Double(wanted), weight: Double(wanted) * ratio)
        answering = seconds
    }

    /// Blocks have been sent.
    /// - Parameters:
    ///   - ratio: what they may have come to compressed, by their size; nil for what nobody has asked for.
    ///   - waiting: seconds that the link took for them.
    ///   - idle: seconds that it had nothing to do because of them.
    mutating func note(sent bytes: UInt64, ratio: Double?, waiting: Double, idle: Double) {
        let amount = Amount(bytes: Double(bytes), weight: Double(bytes) * (ratio ?? meanRatio))
        if ratio != nil { answers += amount }
        sending += waiting + idle
        let share = exp(-(waiting + idle) / Self.memory)
        sent *= share
        sent += amount
        self.waiting = self.waiting * share + waiting
        self.idle = self.idle * share + idle
    }

    /// What the destination has asked for is there, or comes in a later round.
    mutating func endRound() {
        data = answered
        wanted = answers
    }

    /// Seconds until all is sent and the disk can be handed over; nil where that can't be told yet, or would never be.
    /// - Parameters:
    ///   - dirty: bytes that the guest has written since they were sent.
    ///   - dirtyPerSecond: how many more each second.
    func secondsLeft(dirty: UInt64, dirtyPerSecond: Double) -> Double? {
        guard answered > 0, answered >= data || sending >= Self.enough || wanted.bytes == 0 else { return nil }
        let whole = Double(max(data, answered)) / Double(answered)
        let scanning = answering * (whole - 1)
        var left = Amount(
            bytes: max(0, wanted.bytes * whole - answers.bytes), weight: max(0, wanted.weight * whole - answers.weight))
        left += Amount(bytes: Double(dirty), weight: Double(dirty) * meanRatio)
        guard left.bytes > 0 else { return scanning + Self.closing }
        guard sent.bytes > 0 else { return nil }
        let keptUp = 1 - seconds(for: Amount(bytes: dirtyPerSecond, weight: dirtyPerSecond * meanRatio))
        guard keptUp > 0.1 else { return nil }
        return max(scanning, seconds(for: left) / keptUp) + Self.closing
    }

    private func seconds(for amount: Amount) -> Double {
        waiting / sent.weight * amount.weight + idle / sent.bytes * amount.bytes
    }

    private var meanRatio: Double { sent.bytes == 0 ? 1 : sent.weight / sent.bytes }
}
