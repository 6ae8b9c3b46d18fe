import MigrationProtocol

/// What became of a migration; `nearblock migrate --json` prints it.
public struct MigrationReport: Codable, Sendable {
    /// Where the time went, in seconds.
    public struct Seconds: Codable, Sendable {
        /// From the command to the end.
        public var total = 0.0
        /// Until the guest was made to wait.
        public var precopy = 0.0
        /// In which a guest's request waited.
        public var pause = 0.0
        /// From the switchover until nothing was missing.
        public var postcopy = 0.0
    }

    /// The export's name.
    public var export: String
    /// `complete` where the disk has moved and the roots were equal.
    public var state: String
    /// Bytes of the disk.
    public var size: UInt64
    /// The root hash that both sides came to.
    public var root: String
    /// How often the disk was gone through, the last time while the guest waited.
    public var rounds: Int
    /// Where the bytes came from.
    public var ledger: Ledger
    /// Bytes of the ledger that were sent again because the guest had written them meanwhile.
    public var resent: UInt64
    /// What crossed the link.
    public var wire: WireBytes
    /// Where the time went.
    public var seconds: Seconds
}
