import BlockModel

/// A request that another thread or node serves.
///
/// `@unchecked Sendable`: until `finish` is called, only the handler uses the buffer.
public struct AsyncRequest: @unchecked Sendable {
    /// The kind of request.
    public let kind: RequestKind
    /// Whether the data must be durable before the request ends.
    public let isForcedUnitAccess: Bool
    /// Whether `writeZeroes` may leave a hole.
    public let mayPunchHole: Bool
    /// Bytes from the start of the disk.
    public let offset: UInt64
    /// Bytes.
    public let length: UInt64
    /// The bytes to write, or room for those to read.
    public let buffer: UnsafeMutableRawBufferPointer
    /// Ends the request with 0 or an `errno`. Any thread may call, once.
    public let finish: @Sendable (CInt) -> Void
}
