import Migration

/// How an export is; `nearblock status` shows it.
public struct ExportStatus: Codable, Sendable {
    /// Its name.
    public var export: String
    /// Bytes.
    public var size: UInt64
    /// Writes are refused.
    public var readOnly: Bool
    /// `serving`, `incoming`, `active` while blocks are missing, what a migration of it is doing, `moved`, or `released`
    /// once the destination needs nothing of it any more; `held back` where it can't be served, for which `problem` gives the
    /// reason.
    public var state: String
    /// Where it goes, or has gone.
    public var destination: String?
    /// Of the migration that runs.
    public var progress: MigrationProgress?
    /// Blocks that are only at the node that it came from; nil where none is.
    public var missing: UInt64?
    /// Until none is, as they came lately; nil where that can't be told yet, or none comes.
    public var secondsLeft: Double?
    /// Why requests for a disk that has moved wait, or what else needs the operator.
    public var problem: String?
    /// Requests of guests that the device has failed; nil where there was none.
    public var failures: [FailedRequests]?
}
