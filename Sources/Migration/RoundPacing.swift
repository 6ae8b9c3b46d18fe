/// When the next round is worth beginning.
///
/// As long as each round leaves less to send than the one before, the next begins at once. A guest that writes as fast as
/// the link carries gains nothing from that: the same blocks would cross again and again. Then each round waits longer,
/// so that what is written over and over in the meantime is sent once, until the guest slows down.
struct RoundPacing {
    /// A round that leaves more than this part of what the one before left has not helped.
    private static let progress = 0.8
    private static let firstDelay = Duration.milliseconds(500)
    private static let longestDelay = Duration.seconds(8)

    private var lastDirty: UInt64?
    private var delay = Duration.zero

    /// How long to wait before the round that would send `dirty` bytes.
    mutating func delay(dirty: UInt64) -> Duration {
        let helped = lastDirty.map { Double(dirty) < Double($0) * Self.progress } ?? true
        delay = helped ? .zero : min(max(delay * 2, Self.firstDelay), Self.longestDelay)
        lastDirty = dirty
        return delay
    }
}
