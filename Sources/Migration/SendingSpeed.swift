/// How fast blocks have been going over lately, from first byte to the destination's word that it has them.
struct SendingSpeed: Sendable {
    /// Rounds shorter than this say little about the link.
    private static let enoughBytes: UInt64 = 256 << 10

    private var start = ContinuousClock.now
    private var bytes: UInt64 = 0
    private var bytesPerSecond: Double?

    mutating func begin() {
        start = .now
        bytes = 0
    }

    mutating func add(_ count: UInt64) {
        bytes += count
    }

    mutating func end() {
        guard bytes >= Self.enoughBytes else { return }
        bytesPerSecond = Double(bytes) / max(start.duration(to: .now).inSeconds, 1e-6)
    }

    /// How long `count` bytes would take. As long as nothing is known of the link, few bytes take no time and many
    /// take too long.
    func time(for count: UInt64) -> Duration {
        guard let bytesPerSecond else { return count <= Self.enoughBytes ? .zero : .seconds(3600) }
        return .seconds(Double(count) / bytesPerSecond)
    }
}
