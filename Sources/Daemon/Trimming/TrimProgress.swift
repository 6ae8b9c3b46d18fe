/// How far a trim is.
public struct TrimProgress: Codable, Sendable, Equatable {
    /// Bytes of free blocks that have been punched.
    public var done: UInt64
    /// Bytes of free blocks that are no holes.
    public var total: UInt64
}
