/// Measures how fast blocks go over: bytes of blocks for each second spent on sending them.
package struct SendingSpeed: Sendable {
    /// Fewer bytes say little about the link.
    private static let enoughBytes: UInt64 = 256 << 10

    /// The longest time, some 30 years, so that sums of times stay times. Seconds.
    private static let longest = 1e9

    private var bytes: UInt64 = 0
    private var time = Duration.zero
    private var bytesPerSecond: Double?

    package init() {}

    /// A round begins.
    package mutating func begin() {
        bytes = 0
        time = .zero
    }

    /// Sending `count` bytes of blocks has taken this long.
    package mutating func add(_ count: UInt64, in time: Duration) {
        bytes += count
        self.time += time
    }

    /// A round has ended. A short one can only show that the link is better than it seemed.
    /// - Parameters:
    ///   - waited: from the last byte sent until the destination had dealt with all.
    ///   - roundTrip: the part of `waited` that the link takes whatever is sent.
    package mutating func end(waited: Duration, roundTrip: Duration) {
        time += max(.zero, waited - roundTrip)
        let measured = Double(bytes) / max(time.inSeconds, 1e-6)
        if bytes >= Self.enoughBytes || measured > bytesPerSecond ?? .infinity { bytesPerSecond = measured }
    }

    /// The time that `count` bytes of blocks would take.
    /// - Parameter limit: on the sending rate, in bits a second; all that is known before anything is measured.
    package func time(for count: UInt64, limit: UInt64?) -> Duration {
        if let bytesPerSecond { return .seconds(min(Double(count) / max(bytesPerSecond, 1), Self.longest)) }
        if let limit { return .seconds(min(Double(count) * 8 / Double(limit), Self.longest)) }
        return count <= Self.enoughBytes ? .zero : .seconds(3600)
    }
}
