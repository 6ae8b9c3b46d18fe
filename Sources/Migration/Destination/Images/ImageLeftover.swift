/// A partial image that an interrupted migration has left.
public struct ImageLeftover: Codable, Sendable {
    /// Name of the export; a name that ended in `.raw` may lack that.
    public let export: String
    /// Path of the file.
    public let file: String
    /// Bytes that it takes on the disk.
    public let allocated: UInt64
}
