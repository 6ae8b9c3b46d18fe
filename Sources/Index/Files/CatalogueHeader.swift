import Hashing

/// First 256 bytes of a catalogue file; they determine the layout of the whole file.
///
/// A catalogue lists the table and block of each fingerprint in some tables. It is derived from the tables, written
/// once under a temporary name, and never changed. If a table was rewritten or removed since, its generation differs,
/// and its entries are ignored. All numbers are little-endian.
///
///     offset  size  what
///          0     8  magic, "nearcat" and a line feed
///          8     4  version, 1
///         12     4  block size in bytes
///         16     8  entries
///         24     4  tables
///         28     4  bits of a fingerprint that choose its bucket, 0 to 26
///         32     4  bytes of an entry, 1 to 8
///         36     4  bits of an entry that are the block's number
///         40     4  bits of an entry that are the table's place in the list
///         44    20  zero
///         64    32  SHA-256 of the list of tables
///         96    32  SHA-256 of the bucket starts
///        128    32  digest of the entries (`TableDigest`)
///        160    64  zero
///        224    32  SHA-256 of bytes 0 to 223
///
/// These sections follow, each at the next multiple of 4096, with zeros between them:
///
/// 1. the tables: for each the 16 bytes that name its file, and its generation;
/// 2. the bucket starts: for each bucket the number of its first entry, and then the number of entries; 4 bytes each.
///    They are kept in memory, at most 1/16 byte an entry;
/// 3. the entries, ascending as numbers within each bucket. From the highest bit: the fingerprint's bits after the
///    bucket's, the table, the block. An entry names the lowest block that has its fingerprint.
///
/// A bucket has 64 to 128 entries unless a fingerprint is in very many tables. So a lookup reads one piece of about 500
/// bytes, and the whole fingerprint of each entry that agrees in at least 10 more bits.
struct CatalogueHeader: Equatable {
    static let byteCount = 256
    static let magic = Array("nearcat\n".utf8)
    static let version: UInt32 = 1
    static let maximumTables = 4096
    static let maximumBucketBits = 26
    /// Least number of a fingerprint's bits in an entry.
    static let minimumRestBits = 10
    private static let ownChecksumAt = 224

    let blockSize: Int
    var entryCount: UInt64
    let tableCount: Int
    let bucketBits: Int
    let entryWidth: Int
    let blockBits: Int
    let tableBits: Int
    var tablesDigest = [UInt8](repeating: 0, count: SHA256Stream.byteCount)
    var startsDigest = [UInt8](repeating: 0, count: SHA256Stream.byteCount)
    var entriesDigest = [UInt8](repeating: 0, count: SHA256Stream.byteCount)

    /// Computes the layout of a catalogue.
    /// - Parameters:
    ///   - expected: Upper bound for the number of entries.
    ///   - maximumBlocks: Blocks of the largest table.
    init(blockSize: Int, tableCount: Int, maximumBlocks: UInt64, expected: UInt64) {
        self.blockSize = blockSize
        self.tableCount = tableCount
        entryCount = expected
        bucketBits = min(Self.maximumBucketBits, max(0, Self.bits(expected / 64 + 1) - 1))
        blockBits = Self.bits(maximumBlocks)
        tableBits = Self.bits(UInt64(tableCount - 1))
        entryWidth = (blockBits + tableBits + Self.minimumRestBits + 7) / 8
        precondition(Self.fits(tables: tableCount, maximumBlocks: maximumBlocks))
    }

    /// Returns whether that many tables fit into one catalogue.
    static func fits(tables: Int, maximumBlocks: UInt64) -> Bool {
        (1...maximumTables).contains(tables)
            && bits(maximumBlocks) + bits(UInt64(tables - 1)) + minimumRestBits <= 64
    }

    var restBits: Int { min(entryWidth * 8 - blockBits - tableBits, 64 - bucketBits) }
    var bucketCount: Int { 1 << bucketBits }

    var tablesRange: Range<UInt64> {
        Self.section(after: UInt64(Self.byteCount), UInt64(tableCount * TableKey.byteCount))
    }
    var startsRange: Range<UInt64> { Self.section(after: tablesRange.upperBound, UInt64(bucketCount + 1) * 4) }
    var entriesRange: Range<UInt64> { Self.section(after: startsRange.upperBound, entryCount * UInt64(entryWidth)) }
    var fileSize: UInt64 { entriesRange.upperBound }

    /// Returns the bucket of a fingerprint's first half.
    func bucket(_ high: UInt64) -> Int { bucketBits == 0 ? 0 : Int(high >> UInt64(64 - bucketBits)) }

    /// Returns the bits of a fingerprint that an entry holds.
    func rest(_ high: UInt64) -> UInt64 { (high << UInt64(bucketBits)) >> UInt64(64 - restBits) }

    private static func section(after end: UInt64, _ length: UInt64) -> Range<UInt64> {
        let start = (end + 4095) & ~4095
        return start..<start + length
    }

    /// Returns how many bits a number needs.
    private static func bits(_ number: UInt64) -> Int { 64 - number.leadingZeroBitCount }
}

extension CatalogueHeader {
    func encode() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        bytes.replaceSubrange(..<8, with: Self.magic)
        bytes.put(Self.version, at: 8)
        bytes.put(UInt32(blockSize), at: 12)
        bytes.put(entryCount, at: 16)
        for (index, number) in [tableCount, bucketBits, entryWidth, blockBits, tableBits].enumerated() {
            bytes.put(UInt32(number), at: 24 + 4 * index)
        }
        bytes.replaceSubrange(64..<96, with: tablesDigest)
        bytes.replaceSubrange(96..<128, with: startsDigest)
        bytes.replaceSubrange(128..<160, with: entriesDigest)
        bytes.seal(from: Self.ownChecksumAt)
        return bytes
    }

    /// Decodes and validates a header, so that no field leads to absurd sizes.
    init(decoding bytes: [UInt8]) throws(TableFault) {
        try bytes.checkHead(
            magic: Self.magic, version: Self.version, length: Self.byteCount, sealAt: Self.ownChecksumAt)
        let numbers = (0..<5).map { Int(bytes.number(at: 24 + 4 * $0, as: UInt32.self)) }
        blockSize = Int(bytes.number(at: 12, as: UInt32.self))
        entryCount = bytes.number(at: 16, as: UInt64.self)
        (tableCount, bucketBits, entryWidth) = (numbers[0], numbers[1], numbers[2])
        (blockBits, tableBits) = (numbers[3], numbers[4])
        tablesDigest = Array(bytes[64..<96])
        startsDigest = Array(bytes[96..<128])
        entriesDigest = Array(bytes[128..<160])
        guard isPlausible else { throw .damaged("header") }
    }

    private var isPlausible: Bool {
        (1...Self.maximumTables).contains(tableCount) && (0...Self.maximumBucketBits).contains(bucketBits)
            && (1...8).contains(entryWidth) && (0...48).contains(blockBits) && (0...12).contains(tableBits)
            && entryWidth * 8 >= blockBits + tableBits + Self.minimumRestBits && entryCount <= UInt64(UInt32.max)
    }
}
