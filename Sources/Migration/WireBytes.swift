/// What crossed the link, in both directions, as counted on the sockets.
public struct WireBytes: Codable, Sendable, Equatable {
    /// Blocks, compressed, with the headers of their messages.
    public var data: UInt64 = 0
    /// Manifest segments and the wants that answer them.
    public var fingerprints: UInt64 = 0
    /// Everything else.
    public var control: UInt64 = 0
    /// All of it.
    public var total: UInt64 = 0
}
