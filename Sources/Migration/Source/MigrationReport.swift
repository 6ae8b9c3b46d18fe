import MigrationProtocol

/// The outcome of a migration; `nearblock migrate --json` prints it.
public struct MigrationReport: Codable, Sendable {
    /// Durations, in seconds.
    public struct Seconds: Codable, Sendable {
        /// From the command to the end.
        public var total = 0.0
        /// Until the guest was made to wait.
        public var precopy = 0.0
        /// The downtime.
        public var pause = 0.0
        /// From the switchover until nothing was missing.
        public var postcopy = 0.0
    }

    /// The export's name.
    public var export: String
    /// `complete` if the disk has moved and the roots were equal.
    public var state: String
    /// Bytes of the disk.
    public var size: UInt64
    /// The root hash that both sides came to.
    public var root: String
    /// Rounds, the last one while the guest waited.
    public var rounds: Int
    /// The origin of the bytes.
    public var ledger: Ledger
    /// The bytes of it that were free at the start; nil if none are known.
    public var free: FreeBytes?
    /// Bytes of the ledger that were sent again because the guest had written them meanwhile.
    public var resent: UInt64
    /// Bytes that crossed the link.
    public var wire: WireBytes
    /// Durations.
    public var seconds: Seconds
    /// The guest's memory, with its first disk; nil if it did not move, or for another disk.
    public var memory: MemoryStatus?
}
