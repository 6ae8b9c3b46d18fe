import Block
import BlockModel
import Hashing

/// First 256 bytes of a table file; they determine the layout of the whole file.
///
/// A table holds the fingerprint of every block of one neighbour, in the order of the disk. It is written once, under a
/// temporary name, and never changed. Catalogues (`CatalogueHeader`) list where a fingerprint is. All numbers are
/// little-endian.
///
///     offset  size  what
///          0     8  magic, "nearblk" and a line feed
///          8     4  version: 3 if the table has origins, otherwise 2
///         12     4  block size in bytes
///         16     8  image size in bytes
///         24     8  blocks in the image: with origins, those of its grid
///         32     8  blocks of zeros in the image
///         40     8  distinct blocks in the image that are not zero
///         48     4  length of the name in bytes
///         52     4  length of the domain in bytes
///         56    32  the image's stamp: device, inode, size, time of last change
///         88    16  generation: random, another one each time that a table is written
///        104    32  SHA-256 of the name, the domain and the origins
///        136    32  digest of the fingerprints (`TableDigest`)
///        168    32  SHA-256 of what the image is known by (`ImageIdentity.key`), zero where nothing tells it from others
///        200     4  number of origins (`GridLayout`), at most 128; 0 in version 2
///        204    20  zero
///        224    32  SHA-256 of bytes 0 to 223
///
/// The name (absolute path or NBD URI), the domain and the origins follow; an origin has 8 bytes. From the next multiple of 4096 on come 16 bytes for each
/// block. Zero blocks have zeros there, so holes of an image are holes of its table.
struct TableHeader: Equatable {
    static let byteCount = 256
    static let magic = Array("nearblk\n".utf8)
    static let version: UInt32 = 2
    /// Earlier releases skip such a table, and say so.
    static let versionWithOrigins: UInt32 = 3
    static let maximumName = 4096
    static let maximumDomain = 255
    static let maximumBlocks: UInt64 = 1 << 48
    private static let identityRange = 168..<200
    private static let originCountAt = 200
    private static let ownChecksumAt = 224

    let blockSize: Int
    let imageSize: UInt64
    let blockCount: UInt64
    let originCount: Int
    var zeroBlocks: UInt64 = 0
    var distinct: UInt64 = 0
    let nameLength: Int
    let domainLength: Int
    let stamp: ImageStamp
    let generation: Generation
    /// Nil if nothing tells the image from others, or an earlier release wrote the table.
    let identityDigest: [UInt8]?
    var nameDigest = [UInt8](repeating: 0, count: SHA256Stream.byteCount)
    var fingerprintsDigest = [UInt8](repeating: 0, count: SHA256Stream.byteCount)

    init(
        blockSize: Int, imageSize: UInt64, nameLength: Int, domainLength: Int, stamp: ImageStamp,
        identityDigest: [UInt8]? = nil, generation: Generation = .new(), origins: [UInt64] = []
    ) {
        originCount = origins.count
        blockCount =
            BlockGeometry(size: imageSize, blockSize: blockSize, origins: origins)?.blockCount
            ?? Self.blockCount(imageSize, blockSize)
        self.blockSize = blockSize
        self.imageSize = imageSize
        self.nameLength = nameLength
        self.domainLength = domainLength
        self.stamp = stamp
        self.generation = generation
        self.identityDigest = identityDigest
    }

    /// Byte range of the name and the domain in the file.
    var nameRange: Range<UInt64> {
        let start = UInt64(Self.byteCount)
        return start..<start + UInt64(nameLength + domainLength)
    }
    /// Byte range of the name, the domain and the origins in the file.
    var textRange: Range<UInt64> { nameRange.lowerBound..<nameRange.upperBound + UInt64(originCount * 8) }
    /// Byte range of the fingerprints in the file.
    var fingerprintsRange: Range<UInt64> {
        let start = (textRange.upperBound + 4095) & ~4095
        return start..<start + blockCount * UInt64(Fingerprint.byteCount)
    }
    var fileSize: UInt64 { fingerprintsRange.upperBound }

    static func blockCount(_ imageSize: UInt64, _ blockSize: Int) -> UInt64 {
        imageSize / UInt64(blockSize) + (imageSize % UInt64(blockSize) == 0 ? 0 : 1)
    }
}

extension TableHeader {
    func encode() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        bytes.replaceSubrange(..<8, with: Self.magic)
        bytes.put(originCount == 0 ? Self.version : Self.versionWithOrigins, at: 8)
        bytes.put(UInt32(blockSize), at: 12)
        bytes.put(imageSize, at: 16)
        bytes.put(blockCount, at: 24)
        bytes.put(zeroBlocks, at: 32)
        bytes.put(distinct, at: 40)
        bytes.put(UInt32(nameLength), at: 48)
        bytes.put(UInt32(domainLength), at: 52)
        bytes.put(stamp.device, at: 56)
        bytes.put(stamp.inode, at: 64)
        bytes.put(stamp.size, at: 72)
        bytes.put(stamp.modified, at: 80)
        bytes.replaceSubrange(88..<104, with: generation.bytes)
        bytes.replaceSubrange(104..<136, with: nameDigest)
        bytes.replaceSubrange(136..<168, with: fingerprintsDigest)
        bytes.put(UInt32(originCount), at: Self.originCountAt)
        if let identityDigest { bytes.replaceSubrange(Self.identityRange, with: identityDigest) }
        bytes.seal(from: Self.ownChecksumAt)
        return bytes
    }

    /// Decodes and validates a header, so that no field leads to absurd sizes.
    init(decoding bytes: [UInt8]) throws(TableFault) {
        let said = bytes.count >= 12 ? bytes.number(at: 8, as: UInt32.self) : 0
        let hasOrigins = said == Self.versionWithOrigins
        try bytes.checkHead(
            magic: Self.magic, version: hasOrigins ? Self.versionWithOrigins : Self.version, length: Self.byteCount,
            sealAt: Self.ownChecksumAt)
        blockSize = Int(bytes.number(at: 12, as: UInt32.self))
        imageSize = bytes.number(at: 16, as: UInt64.self)
        blockCount = bytes.number(at: 24, as: UInt64.self)
        originCount = hasOrigins ? Int(bytes.number(at: Self.originCountAt, as: UInt32.self)) : 0
        zeroBlocks = bytes.number(at: 32, as: UInt64.self)
        distinct = bytes.number(at: 40, as: UInt64.self)
        nameLength = Int(bytes.number(at: 48, as: UInt32.self))
        domainLength = Int(bytes.number(at: 52, as: UInt32.self))
        stamp = ImageStamp(
            device: bytes.number(at: 56, as: UInt64.self), inode: bytes.number(at: 64, as: UInt64.self),
            size: bytes.number(at: 72, as: UInt64.self), modified: bytes.number(at: 80, as: Int64.self))
        generation = Generation(bytes: Array(bytes[88..<104]))
        nameDigest = Array(bytes[104..<136])
        fingerprintsDigest = Array(bytes[136..<168])
        let identity = Array(bytes[Self.identityRange])
        identityDigest = identity.contains { $0 != 0 } ? identity : nil
        guard isPlausible, originCount > 0 || !hasOrigins else { throw .damaged("header") }
    }

    private var isPlausible: Bool {
        // The size must fit a file offset, so that reading the image there can't overflow.
        BlockGeometry.isValid(blockSize: blockSize) && (1...UInt64(Int64.max)).contains(imageSize)
            && originCount <= GridLayout.maximumOrigins && isBlockCountPlausible
            && blockCount <= Self.maximumBlocks && zeroBlocks <= blockCount && distinct <= blockCount - zeroBlocks
            && (1...Self.maximumName).contains(nameLength) && (1...Self.maximumDomain).contains(domainLength)
    }

    /// Each origin may add a block. How many they do is known with the origins.
    private var isBlockCountPlausible: Bool {
        let whole = Self.blockCount(imageSize, blockSize)
        return blockCount >= whole && blockCount - whole <= UInt64(originCount)
    }
}
