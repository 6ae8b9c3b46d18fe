import MigrationProtocol

/// The estimated cost of moving a disk; `nearblock migrate --dry-run --json` prints it.
public struct MigrationEstimate: Codable, Sendable {
    /// Durations, in seconds.
    public struct Seconds: Codable, Sendable {
        /// From the command to the end if the guest writes nothing meanwhile; nil if no rate is known.
        public var total: Double?
    }

    /// The export's name.
    public var export: String
    /// `estimated`: nothing has moved.
    public var state = "estimated"
    /// Bytes of the disk.
    public var size: UInt64
    /// The origin of the bytes.
    public var ledger: Ledger
    /// The blocks that are free and not zeros, of which none has been sent; nil if none are known.
    public var free: FreeBytes?
    /// Bytes that would cross the link.
    public var wire: WireBytes
    /// Durations.
    public var seconds: Seconds
    /// Address of the destination that was asked; nil if only one was named.
    public var to: String?
}
