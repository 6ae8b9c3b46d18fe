/// What of a disk is still only at its source, after the switchover.
public struct ArrivingDisk: Sendable {
    /// Blocks.
    public let missing: UInt64
    /// Seconds until none is, as they came lately; nil if that can't be told yet, or none comes.
    public let secondsLeft: Double?
    /// Why it does not get on; nil if it does.
    public let problem: String?
}
