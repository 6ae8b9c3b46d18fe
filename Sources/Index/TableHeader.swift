import Block

/// The first 256 bytes of a table file, and with them the layout of the whole file.
///
/// A table is one neighbour's fingerprints. It is written once, under a temporary name, and never changed.
/// All numbers are little-endian; fingerprints are bytes, and so is their order.
///
///     offset  size  what
///          0     8  magic, "nearblk" and a line feed
///          8     4  version, 1
///         12     4  block size in bytes
///         16     8  image size in bytes
///         24     8  blocks in the image
///         32     8  blocks of zeros in the image
///         40     8  entries
///         48     4  length of the name in bytes
///         52     4  width of a block number in bytes: 4, or 6 for an image of more than 2^32 blocks
///         56    32  the image's identity: device, inode, size, time of last change
///         88     8  zero
///         96   128  SHA-256 of each section, in their order
///        224    32  SHA-256 of bytes 0 to 223
///
/// Then the sections, each from the next multiple of 4096 on, zeros between them. An empty one takes no room,
/// and the file ends with the last:
///
/// 1. the name: the image's absolute path;
/// 2. the fences: the first 8 bytes of entry 0, 128, 256, ..., kept in memory (1/16 byte an entry);
/// 3. the fingerprints, 16 bytes each, ascending, no two equal;
/// 4. the block numbers, in the order of the fingerprints: the lowest block that has each.
///
/// So 20.06 bytes an entry (22.06 for the widest), and a look-up reads one chunk of 128 fingerprints, which
/// never crosses a page, and then, on a hit, one block number.
struct TableHeader: Equatable {
    static let byteCount = 256
    static let magic = Array("nearblk\n".utf8)
    static let version: UInt32 = 1
    /// Entries a chunk: one fence stands for each.
    static let chunk = 128
    static let maximumName = 4096
    static let maximumBlocks: UInt64 = 1 << 48
    private static let checksumsAt = 96
    private static let ownChecksumAt = 224

    let blockSize: Int
    let imageSize: UInt64
    let zeroBlocks: UInt64
    let entryCount: UInt64
    let nameLength: Int
    let identity: ImageIdentity
    /// By the raw value of `TableSection`.
    var checksums = [[UInt8]](
        repeating: [UInt8](repeating: 0, count: SHA256Stream.byteCount), count: TableSection.allCases.count)

    var blockCount: UInt64 { Self.blockCount(imageSize, blockSize) }
    var blockWidth: Int { blockCount <= 1 << 32 ? 4 : 6 }
    var fenceCount: UInt64 { (entryCount + UInt64(Self.chunk) - 1) / UInt64(Self.chunk) }
    var fileSize: UInt64 { range(of: .blocks).upperBound }

    static func blockCount(_ imageSize: UInt64, _ blockSize: Int) -> UInt64 {
        imageSize / UInt64(blockSize) + (imageSize % UInt64(blockSize) == 0 ? 0 : 1)
    }

    /// Where a section stands in the file. Can't overflow once `validate` has passed.
    func range(of section: TableSection) -> Range<UInt64> {
        var end = UInt64(Self.byteCount)
        for each in TableSection.allCases {
            let length = length(of: each)
            let start = length == 0 ? end : (end + 4095) & ~4095
            end = start + length
            if each == section { return start..<end }
        }
        preconditionFailure("every section is among all cases")
    }

    private func length(of section: TableSection) -> UInt64 {
        switch section {
        case .name: UInt64(nameLength)
        case .fences: fenceCount * 8
        case .fingerprints: entryCount * UInt64(Fingerprint.byteCount)
        case .blocks: entryCount * UInt64(blockWidth)
        }
    }
}

extension TableHeader {
    func encode() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        bytes.replaceSubrange(..<8, with: Self.magic)
        bytes.put(Self.version, at: 8)
        bytes.put(UInt32(blockSize), at: 12)
        bytes.put(imageSize, at: 16)
        bytes.put(blockCount, at: 24)
        bytes.put(zeroBlocks, at: 32)
        bytes.put(entryCount, at: 40)
        bytes.put(UInt32(nameLength), at: 48)
        bytes.put(UInt32(blockWidth), at: 52)
        bytes.put(identity.device, at: 56)
        bytes.put(identity.inode, at: 64)
        bytes.put(identity.size, at: 72)
        bytes.put(identity.modified, at: 80)
        bytes.replaceSubrange(Self.checksumsAt..<Self.ownChecksumAt, with: checksums.joined())
        bytes.replaceSubrange(Self.ownChecksumAt..., with: Self.ownChecksum(bytes))
        return bytes
    }

    /// Reads and validates a header, so that nothing in it leads to absurd sizes.
    init(decoding bytes: [UInt8]) throws(TableFault) {
        guard bytes.count >= 12, bytes.starts(with: Self.magic) else { throw .foreign }
        // The version stands before the checksum: a later one may put everything else elsewhere.
        let version = bytes.number(at: 8, as: UInt32.self)
        guard version == Self.version else { throw .version(version) }
        guard bytes.count == Self.byteCount else { throw .truncated }
        guard Array(bytes[Self.ownChecksumAt...]) == Self.ownChecksum(bytes) else { throw .damaged("header") }
        self.init(unchecked: bytes)
        guard isPlausible, blockCount == bytes.number(at: 24, as: UInt64.self),
            blockWidth == Int(bytes.number(at: 52, as: UInt32.self))
        else { throw .damaged("header") }
    }

    private init(unchecked bytes: [UInt8]) {
        blockSize = Int(bytes.number(at: 12, as: UInt32.self))
        imageSize = bytes.number(at: 16, as: UInt64.self)
        zeroBlocks = bytes.number(at: 32, as: UInt64.self)
        entryCount = bytes.number(at: 40, as: UInt64.self)
        nameLength = Int(bytes.number(at: 48, as: UInt32.self))
        identity = ImageIdentity(
            device: bytes.number(at: 56, as: UInt64.self), inode: bytes.number(at: 64, as: UInt64.self),
            size: bytes.number(at: 72, as: UInt64.self), modified: bytes.number(at: 80, as: Int64.self))
        checksums = stride(from: Self.checksumsAt, to: Self.ownChecksumAt, by: SHA256Stream.byteCount)
            .map { Array(bytes[$0..<$0 + SHA256Stream.byteCount]) }
    }

    private var isPlausible: Bool {
        // No larger than a file offset can express, so that reading the image there can't overflow.
        BlockGeometry.isValid(blockSize: blockSize) && (1...UInt64(Int64.max)).contains(imageSize)
            && blockCount <= Self.maximumBlocks && zeroBlocks <= blockCount
            && entryCount <= blockCount - zeroBlocks && (1...Self.maximumName).contains(nameLength)
    }

    private static func ownChecksum(_ bytes: [UInt8]) -> [UInt8] {
        bytes.withUnsafeBytes { BlockHasher().digest(UnsafeRawBufferPointer(rebasing: $0[..<ownChecksumAt])) }
    }
}
