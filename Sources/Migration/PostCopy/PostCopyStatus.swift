/// How far a disk is that is served before all of it has come.
public struct PostCopyStatus: Sendable {
    /// Blocks that are only at the source.
    public let missing: UInt64
    /// Their bytes.
    public let missingBytes: UInt64
    /// Seconds until nothing is missing, at the recent rate; nil if nothing has come lately.
    public let secondsLeft: Double?
    /// Why the disk does not get on, in one line; nil while it does.
    public let problem: String?
}
