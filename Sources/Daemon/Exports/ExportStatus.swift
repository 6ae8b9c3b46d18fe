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
    /// `state` in one word, of a fixed set; see `ExportCondition`. Nil from a node of an earlier release.
    public var condition: String?
    /// Clients that are connected to the export at this moment; nil from a node of an earlier release.
    public var clients: Int?
    /// How far the disk is that is being copied here; nil if none is.
    public var arrival: ArrivalProgressStatus?
    /// Bytes of the blocks in `missing`; nil if none is missing.
    public var missingBytes: UInt64?
    /// Whether the node that the disk came from must keep its image and keep running. At that node nil until the disk
    /// has moved; at the node that has the disk nil if nothing is missing.
    public var sourceNeeded: Bool?
    /// The last migration of the export from this node; nil if none has ended, or the next one runs.
    public var lastMigration: LastMigration?
}
