import Migration

/// The exports of a node with their origins, and what migrations have left behind, as `nearblock export list` shows it.
public struct ExportList: Codable, Sendable {
    /// Origin of an export in one word.
    public enum Origin: String, CaseIterable, Codable, Sendable {
        /// The node's configuration or command line.
        case configuration
        /// A migration brought it, and the configuration does not name it.
        case arrived
        /// A migration brings it now.
        case arriving
    }

    /// One export.
    public struct Entry: Codable, Sendable {
        /// Name of the export.
        public var export: String
        /// A value of `Origin`; a later release may have others.
        public var origin: String
        /// State in one word; see `ExportCondition`.
        public var condition: String
        /// Size in bytes; 0 if it is not served.
        public var size: UInt64
        /// Path or URI of the image; nil if the disk has none here yet.
        public var image: String?
        /// Whether writes are refused.
        public var readOnly: Bool
        /// Connected clients.
        public var clients: Int
    }

    /// Something that a migration has left behind.
    public struct Leftover: Codable, Sendable {
        /// `incoming` for a partial image, or `record` for a record whose image is gone.
        public var kind: String
        /// Name of the export; nil if unknown.
        public var export: String?
        /// Path of the file.
        public var file: String
        /// Bytes that the file takes on the disk; nil for a record.
        public var allocated: UInt64?
        /// Advice for the operator, in one line.
        public var advice: String
    }

    /// The exports, sorted by name.
    public var exports: [Entry]
    /// Leftovers of migrations.
    public var leftovers: [Leftover]
}
