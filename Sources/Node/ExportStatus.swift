import Migration

/// How an export is; `nearblock status` shows it.
public struct ExportStatus: Codable, Sendable {
    /// Its name.
    public var export: String
    /// Bytes.
    public var size: UInt64
    /// Writes are refused.
    public var readOnly: Bool
    /// `serving`, what a migration of it is doing, or `moved`.
    public var state: String
    /// Where it goes, or has gone.
    public var destination: String?
    /// Of the migration that runs.
    public var progress: MigrationProgress?
    /// Why requests for a disk that has moved wait.
    public var problem: String?
}
