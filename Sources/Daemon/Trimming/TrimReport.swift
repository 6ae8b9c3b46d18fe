/// The outcome of a trim; `nearblock trim --json` prints it.
public struct TrimReport: Codable, Sendable, Equatable {
    /// A partition, or the whole disk if it has none.
    public struct Part: Codable, Sendable, Equatable {
        /// First byte of it on the disk.
        public var start: UInt64
        /// Its bytes.
        public var size: UInt64
        /// The file system, as libblkid calls it; nil for none whose free blocks can be read.
        public var fileSystem: String?
        /// Bytes of its free blocks; 0 if it has been left as it is.
        public var free: UInt64
        /// Bytes of its free blocks that were no holes.
        public var data: UInt64
        /// Bytes that have been punched; 0 with `dryRun`.
        public var punched: UInt64
        /// Why it has been left as it is; nil if it has not.
        public var problem: String?
    }

    /// The export's name.
    public var export: String
    /// Whether nothing was to be punched.
    public var dryRun: Bool
    /// In the order of the disk.
    public var parts: [Part]

    /// Bytes that have been punched.
    public var punched: UInt64 { parts.reduce(0) { $0 + $1.punched } }
    /// Bytes of free blocks that were no holes.
    public var data: UInt64 { parts.reduce(0) { $0 + $1.data } }
}
