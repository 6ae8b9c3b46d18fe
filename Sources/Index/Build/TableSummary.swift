/// What `IndexStore` made of an image.
public struct TableSummary: Hashable, Sendable, Codable {
    /// The neighbour as it now stands in the index.
    public let neighbour: Neighbour
    /// Bytes of the image that were read and hashed or seen to be zero: all but its holes.
    public let bytesRead: UInt64
}
