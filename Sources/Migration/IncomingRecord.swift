/// The destination's note of a disk that has arrived whole.
public struct IncomingRecord: Codable, Sendable {
    /// How far it has come.
    public enum Phase: String, Codable, Sendable {
        /// Everything is here and durable; only the source's word is missing.
        case prepared
        /// It is served here.
        case active
    }

    /// How far it has come.
    public var phase: Phase
    /// The migration by which it came.
    public let migration: MigrationID
    /// The export's name.
    public let export: String
    /// Bytes.
    public let size: UInt64
    /// The root at the switchover.
    let root: String
}
