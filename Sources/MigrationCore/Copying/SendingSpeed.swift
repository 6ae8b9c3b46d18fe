/// Measures the sending speed: bytes of blocks for each second spent on sending them.
package struct SendingSpeed: Sendable {
    /// A measurement over fewer bytes is not reliable.
    private static let enoughBytes: UInt64 = 256 << 10

    /// The longest time, some 30 years, so that sums of times do not overflow. Seconds.
    private static let longest = 1e9

    private var bytes: UInt64 = 0
    private var time = Duration.zero
    private var bytesPerSecond: Double?

    package init() {}

    /// Begins a round.
    package mutating func begin() {
        bytes = 0
        time = .zero
    }

    /// Adds the time for sending `count` bytes of blocks.
    package mutating func add(_ count: UInt64, in time: Duration) {
        bytes += count
        self.time += time
    }

    /// Ends a round. A short round can only show that the link is faster than it seemed.
    /// - Parameters:
    ///   - waited: time from the last byte sent until the destination had processed everything.
    ///   - roundTrip: the part of `waited` that the link takes however little is sent.
    package mutating func end(waited: Duration, roundTrip: Duration) {
        time += max(.zero, waited - roundTrip)
        let measured = Double(bytes) / max(time.inSeconds, 1e-6)
        if bytes >= Self.enoughBytes || measured > bytesPerSecond ?? .infinity { bytesPerSecond = measured }
    }

    /// The time that `count` bytes of blocks would take.
    /// - Parameter limit: of the sending rate, in bits a second; the only known rate before anything is measured.
    package func time(for count: UInt64, limit: UInt64?) -> Duration {
        if let bytesPerSecond { return .seconds(min(Double(count) / max(bytesPerSecond, 1), Self.longest)) }
        if let limit { return .seconds(min(Double(count) * 8 / Double(limit), Self.longest)) }
        return count <= Self.enoughBytes ? .zero : .seconds(3600)
    }
}
