/// Result of indexing an image.
public struct TableSummary: Hashable, Sendable, Codable {
    /// The neighbour as the index now describes it.
    public let neighbour: Neighbour
    /// Bytes of the image that were read; all except its holes.
    public let bytesRead: UInt64
}
