/// How long the copying of a disk will still take, from how it went so far. Does nothing itself.
///
/// What matters is what blocks come to on the link, which nobody knows before they are compressed. A sample of each segment
/// says how the segments compare.
struct CopyForecast: Equatable {
    /// Less says little about the link. Bytes of blocks.
    private static let enough: UInt64 = 4 << 20

    /// Bytes of the disk that may not be zero.
    var data: UInt64 = 0
    /// Of these, what the destination has answered for.
    private var answered: UInt64 = 0
    /// Of these, what it wants, as the samples have it, and what of that has been sent.
    private var wanted = 0.0
    private var answers = 0.0
    /// All that was sent, as the samples have it, and in bytes of blocks; and the seconds that it took.
    private var weight = 0.0
    private var sent: UInt64 = 0
    private var seconds = 0.0
    /// Seconds from the beginning to the last answer.
    private var answering = 0.0

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
        self.weight += weight
        sent += bytes
        self.seconds += seconds
    }

    /// What the destination has asked for is there, or comes in a later round.
    mutating func endRound() {
        data = answered
        wanted = answers
    }

    /// Seconds until all is sent; nil where that can't be told yet, or would never be.
    /// - Parameters:
    ///   - dirty: bytes that the guest has written since they were sent.
    ///   - dirtyPerSecond: how many more each second.
    func secondsLeft(dirty: UInt64, dirtyPerSecond: Double) -> Double? {
        guard answered > 0, sent >= Self.enough || wanted == 0 else { return nil }
        let whole = Double(max(data, answered)) / Double(answered)
        let scanning = answering * (whole - 1)
        guard wanted > 0 || dirty > 0 else { return scanning }
        let rate = weight / max(seconds, 1e-3)
        let net = rate - dirtyPerSecond * meanRatio
        guard net > rate / 10 else { return nil }
        let left = max(0, wanted * whole - answers) + Double(dirty) * meanRatio
        return max(scanning, left / net)
    }

    private var meanRatio: Double { sent == 0 ? 1 : weight / Double(sent) }
}
