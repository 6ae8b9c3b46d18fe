import Block

/// One image in an opened index, as it was when it was indexed.
public struct Neighbour: Hashable, Sendable, Codable {
    /// The image's absolute path, without symbolic links.
    public let name: String
    /// Bytes in the image.
    public let size: UInt64
    /// Blocks in the image, a short tail counted as one.
    public let blocks: UInt64
    /// Blocks of zeros, holes included.
    public let zero: UInt64
    /// Fingerprints in the table: the image's distinct blocks that are not zero.
    public let distinct: UInt64
    /// The image as `stat(2)` saw it just before it was read.
    public let identity: ImageIdentity
    /// The table's path.
    public let tableFile: String
    /// Bytes in the table.
    public let tableBytes: UInt64

    init(name: String, header: TableHeader, tableFile: String) {
        self.name = name
        size = header.imageSize
        blocks = header.blockCount
        zero = header.zeroBlocks
        distinct = header.entryCount
        identity = header.identity
        self.tableFile = tableFile
        tableBytes = header.fileSize
    }
}
