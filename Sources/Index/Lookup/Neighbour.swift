import Block

/// One image of an opened index, as it was when it was indexed.
public struct Neighbour: Hashable, Sendable, Codable {
    /// Domain of an image that was added without one.
    public static let standardDomain = "default"

    /// Absolute path of the image, without symbolic links, or its NBD URI.
    public let name: String
    /// Domain of the neighbour; a migration uses only the domains that it is given.
    public let domain: String
    /// Size of the image in bytes.
    public let size: UInt64
    /// Number of blocks; a short last block counts as one.
    public let blocks: UInt64
    /// Number of zero blocks, holes included.
    public let zero: UInt64
    /// Number of distinct blocks that are not zero.
    public let distinct: UInt64
    /// Device, inode, size and time of change, taken just before the image was read; `identity` in JSON.
    public let stamp: ImageStamp
    /// Path of the table.
    public let tableFile: String
    /// Bytes that the table occupies on the disk.
    public let tableBytes: UInt64
    /// Name of the host that has the image; nil for this one.
    public let host: String?

    private enum CodingKeys: String, CodingKey {
        case name, domain, size, blocks, zero, distinct
        case stamp = "identity"
        case tableFile, tableBytes, host
    }

    init(
        name: String, domain: String, header: TableHeader, tableFile: String, tableBytes: UInt64, host: String? = nil
    ) {
        self.name = name
        self.domain = domain
        size = header.imageSize
        blocks = header.blockCount
        zero = header.zeroBlocks
        distinct = header.distinct
        stamp = header.stamp
        self.tableFile = tableFile
        self.tableBytes = tableBytes
        self.host = host
    }

    init(_ table: Table) {
        self.init(
            name: table.name, domain: table.domain, header: table.header, tableFile: table.file.path,
            tableBytes: table.file.allocated, host: table.owner?.host)
    }
}
