import MigrationProtocol

/// Bytes that crossed the link in both directions, as counted on the sockets.
public struct WireBytes: Codable, Sendable, Equatable {
    /// Blocks, compressed, with the headers of their messages.
    public var data: UInt64 = 0
    /// Manifests, their summaries and the answers; after the switchover, descriptions of blocks.
    public var fingerprints: UInt64 = 0
    /// All other messages.
    public var control: UInt64 = 0
    /// The sum.
    public var total: UInt64 = 0

    /// Adds bytes that have crossed besides.
    mutating func add(_ other: WireBytes) {
        data = data.addingClamped(other.data)
        fingerprints = fingerprints.addingClamped(other.fingerprints)
        control = control.addingClamped(other.control)
        total = total.addingClamped(other.total)
    }
}
