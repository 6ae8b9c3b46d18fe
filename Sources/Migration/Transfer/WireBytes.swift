import MigrationProtocol

/// What crossed the link, in both directions, as counted on the sockets.
public struct WireBytes: Codable, Sendable, Equatable {
    /// Blocks, compressed, with the headers of their messages.
    public var data: UInt64 = 0
    /// Manifests, their summaries, and what answers them; after the hand-over, what blocks are said to be.
    public var fingerprints: UInt64 = 0
    /// Everything else.
    public var control: UInt64 = 0
    /// All of it.
    public var total: UInt64 = 0

    /// What has crossed besides.
    mutating func add(_ other: WireBytes) {
        data = data.addingClamped(other.data)
        fingerprints = fingerprints.addingClamped(other.fingerprints)
        control = control.addingClamped(other.control)
        total = total.addingClamped(other.total)
    }
}
