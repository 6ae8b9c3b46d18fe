import MigrationProtocol

/// What moving a disk would take; `nearblock migrate --dry-run --json` prints it.
public struct MigrationEstimate: Codable, Sendable {
    /// Where the time would go, in seconds.
    public struct Seconds: Codable, Sendable {
        /// From the command to the end, nothing being written meanwhile; nil where no rate is known.
        public var total: Double?
    }

    /// The export's name.
    public var export: String
    /// `estimated`: nothing has moved.
    public var state = "estimated"
    /// Bytes of the disk.
    public var size: UInt64
    /// Where the bytes would come from.
    public var ledger: Ledger
    /// What would cross the link.
    public var wire: WireBytes
    /// Where the time would go.
    public var seconds: Seconds
}
