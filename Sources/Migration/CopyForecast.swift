import Glibc

/// How long the copying of a disk will still take, from how it went so far. Does nothing itself.
///
/// What matters is what blocks come to on the link, which nobody knows before they are compressed. A sample of each segment
/// says how the segments compare. How fast that goes is what it was lately: a link may change, and at first a fast one waits
/// for the fingerprints.
struct CopyForecast: Equatable {
    /// Sent for less than this, blocks say little about the link, as long as the destination has not answered for all of
    /// the disk. Seconds.
    private static let enough = 2.0
    /// What was sent so long ago counts for 1/e. Seconds of sending.
    private static let memory = 5.0
    /// From the last block sent to the hand-over: the destination writes what has come, and both compare. Seconds.
    private static let closing = 0.2

    /// Bytes of the disk that may not be zero.
    var data: UInt64 = 0
    /// Of these, what the destination has answered for.
    private var answered: UInt64 = 0
    /// Of these, what it wants, as the samples have it, and what of that has been sent.
    private var wanted = 0.0
    private var answers = 0.0
    /// Seconds from the beginning to the last answer.
    private var answering = 0.0
    /// All that was sent: as the samples have it, in bytes of blocks, and the seconds that it took, with what was long ago
    /// counting less.
    private var weight = 0.0
    private var sent = 0.0
    private var seconds = 0.0
    /// Seconds of sending in all.
    private var sending = 0.0

    /// The destination has answered.
    /// - Parameters:
    ///   - answered: bytes of blocks.
    ///   - wanted: as they may be compressed.
    ///   - seconds: from the beginning.
    mutating func note(answered: UInt64, wanted: Double, after seconds: Double) {
        self.answered += answered
        self.wanted += wanted
        answering = seconds
    }

    /// Blocks have been sent.
    /// - Parameter ratio: what they may have come to compressed, by their size; nil for what nobody has asked for.
    mutating func note(sent bytes: UInt64, ratio: Double?, in seconds: Double) {
        let weight = Double(bytes) * (ratio ?? meanRatio)
        if ratio != nil { answers += weight }
        sending += seconds
        let share = exp(-seconds / Self.memory)
        self.weight = self.weight * share + weight
        sent = sent * share + Double(bytes)
        self.seconds = self.seconds * share + seconds
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
        guard answered > 0, answered >= data || sending >= Self.enough || wanted == 0 else { return nil }
        let whole = Double(max(data, answered)) / Double(answered)
        let scanning = answering * (whole - 1)
        let left = max(0, wanted * whole - answers) + Double(dirty) * meanRatio
        guard left > 0 else { return scanning + Self.closing }
        guard seconds > 0 else { return nil }
        let rate = weight / seconds
        let net = rate - dirtyPerSecond * meanRatio
        guard net > rate / 10 else { return nil }
        return max(scanning, left / net) + Self.closing
    }

    private var meanRatio: Double { sent == 0 ? 1 : weight / sent }
}
