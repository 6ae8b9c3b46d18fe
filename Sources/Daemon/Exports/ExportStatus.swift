import Migration

/// State of an export, as `nearblock status` shows it.
public struct ExportStatus: Codable, Sendable {
    /// Name of the export.
    public var export: String
    /// Size in bytes.
    public var size: UInt64
    /// Whether writes are refused.
    public var readOnly: Bool
    /// `serving`, `incoming`, `active` while blocks are missing, or the phase of its migration. After the switchover
    /// `moved`, or `released` once the destination needs nothing more of it. `held back` if it can't be served, for the
    /// reason in `problem`.
    public var state: String
    /// Node to which the disk moves or has moved; nil for none.
    public var destination: String?
    /// Progress of the running migration; nil if none runs.
    public var progress: MigrationProgress?
    /// Blocks that only the source has; nil if none is missing.
    public var missing: UInt64?
    /// Estimated seconds until no block is missing, from the recent rate; nil if that is unknown, or none arrives.
    public var secondsLeft: Double?
    /// Reason why requests wait, or another matter for the operator; nil for none.
    public var problem: String?
    /// Guests' requests that failed on the device; nil if none did.
    public var failures: [FailedRequests]?
    /// The memory of the guest whose first disk it is; nil if it does not move.
    public var memory: MemoryStatus?
    /// Bytes that clients have trimmed at this node since it started; nil for none.
    public var trimmed: UInt64?
}
