/// How far a disk is that is being copied to this node, before its switchover.
public struct ArrivalStatus: Sendable {
    /// Name of the export.
    public let export: String
    /// Size of the disk in bytes.
    public let size: UInt64
    /// Bytes of the disk that are in the image, at most `size`. Blocks that the guest writes again count as missing.
    public let present: UInt64
    /// Growth of `present` in bytes a second over the last seconds; 0 if nothing came.
    public let bytesPerSecond: Double
    /// Bits a second that crossed the link over the last seconds, both ways.
    public let linkRate: Double
    /// Seconds until all of the disk is here, at that rate; nil if unknown.
    public let secondsLeft: Double?
    /// Numeric address of the node that sends the disk; nil if unknown.
    public let source: String?
}
