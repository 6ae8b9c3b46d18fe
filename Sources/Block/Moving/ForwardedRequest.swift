import BlockModel

/// A request on its way to another node.
///
/// `@unchecked Sendable`: until `finish` is called the buffer is the forwarder's alone.
public struct ForwardedRequest: @unchecked Sendable {
    /// What is asked for.
    public let kind: RequestKind
    /// The data must be durable before the request ends.
    public let isForcedUnitAccess: Bool
    /// `writeZeroes` may leave a hole.
    public let mayPunchHole: Bool
    /// Bytes from the start of the disk.
    public let offset: UInt64
    /// Bytes.
    public let length: UInt64
    /// The bytes to write, or room for those to read.
    public let buffer: UnsafeMutableRawBufferPointer
    /// To be called once, from any thread, with 0 or an `errno`.
    public let finish: @Sendable (CInt) -> Void
}
