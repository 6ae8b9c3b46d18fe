import Migration

/// Progress of a disk that is being copied to this node, as `nearblock status` shows it.
public struct ArrivalProgressStatus: Codable, Sendable {
    /// Bytes that are here, at most `total`.
    public var done: UInt64
    /// Bytes of the disk.
    public var total: UInt64
    /// Growth of `done` in bytes a second over the last seconds.
    public var bytesPerSecond: Double
    /// Bits a second that crossed the link over the last seconds, both ways.
    public var linkRate: Double
    /// Seconds until all is here, at that rate; nil if unknown.
    public var secondsLeft: Double?
    /// Numeric address of the node that sends the disk; nil if unknown.
    public var source: String?

    init(_ status: ArrivalStatus) {
        done = status.present
        total = status.size
        bytesPerSecond = status.bytesPerSecond
        linkRate = status.linkRate
        secondsLeft = status.secondsLeft
        source = status.source
    }
}
