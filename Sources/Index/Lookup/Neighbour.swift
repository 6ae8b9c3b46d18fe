import Block

/// One image in an opened index, as it was when it was indexed.
public struct Neighbour: Hashable, Sendable, Codable {
    /// The domain of an image that was given none.
    public static let standardDomain = "default"

    /// The image's absolute path, without symbolic links, or its NBD URI.
    public let name: String
    /// What it belongs to: a migration draws only on neighbours of the domains that it is given.
    public let domain: String
    /// Bytes in the image.
    public let size: UInt64
    /// Blocks in the image, a short tail counted as one.
    public let blocks: UInt64
    /// Blocks of zeros, holes included.
    public let zero: UInt64
    /// The image's distinct blocks that are not zero.
    public let distinct: UInt64
    /// The image as `stat(2)` saw it just before it was read; `identity` in JSON.
    public let stamp: ImageStamp
    /// The table's path.
    public let tableFile: String
    /// Bytes that the table takes on the disk.
    public let tableBytes: UInt64

    private enum CodingKeys: String, CodingKey {
        case name, domain, size, blocks, zero, distinct
        case stamp = "identity"
        case tableFile, tableBytes
    }

    init(name: String, domain: String, header: TableHeader, tableFile: String, tableBytes: UInt64) {
        self.name = name
        self.domain = domain
        size = header.imageSize
        blocks = header.blockCount
        zero = header.zeroBlocks
        distinct = header.distinct
        stamp = header.stamp
        self.tableFile = tableFile
        self.tableBytes = tableBytes
    }

    init(_ table: Table) {
        self.init(
            name: table.name, domain: table.domain, header: table.header, tableFile: table.file.path,
            tableBytes: table.file.allocated)
    }
}
