/// Reads the free extents of an XFS: in each allocation group, the tree of free space by block number.
///
/// No library reads XFS: Debian packages none, and xfs_db takes no partition of an image. The format is that of "XFS
/// Algorithms & Data Structures", versions 4 and 5. Every number is checked, and the tree's leaves must ascend, so that a loop
/// in it ends.
struct XFSFreeSpace: FreeSpaceSource {
    private static let superblockMagic: UInt32 = 0x5846_5342  // XFSB
    private static let groupMagic: UInt32 = 0x5841_4746  // XAGF
    /// ABTB and AB3B, with the bytes of their headers.
    private static let treeMagics: [UInt32: Int] = [0x4142_5442: 16, 0x4142_3342: 56]
    private static let none: UInt32 = .max
    /// XFS itself has at most 9.
    private static let mostLevels: UInt32 = 9
    /// The parts of version 5 that do not change what is free: those that old kernels must not mount, and not write to.
    private static let known: (mount: UInt32, write: UInt32) = (0xef, 0xf)
    /// The checksum of a group's header.
    private static let groupChecksum = 216

    private let bytes: DiskBytes
    private let superblock: [UInt8]
    /// Whether blocks have checksums: version 5.
    private let hasChecksums: Bool
    /// Whether checksums and counts must fit.
    private let isExact: Bool
    private let blockSize: UInt64
    private let sectorSize: UInt64
    private let groupBlocks: UInt64
    private let groups: UInt64

    /// Reads the superblock.
    /// - Parameter isExact: Whether checksums and counts must fit. Those of a mounted one may not.
    /// - Throws: `FreeSpaceError`.
    init(_ bytes: DiskBytes, isExact: Bool = false) throws {
        self.bytes = bytes
        self.isExact = isExact
        superblock = try bytes.read(at: 0, count: 512)
        hasChecksums = superblock.bigEndian(UInt16.self, at: 100) & 0xf == 5
        blockSize = UInt64(superblock.bigEndian(UInt32.self, at: 4))
        groupBlocks = UInt64(superblock.bigEndian(UInt32.self, at: 84))
        groups = UInt64(superblock.bigEndian(UInt32.self, at: 88))
        sectorSize = UInt64(superblock.bigEndian(UInt16.self, at: 102))
        guard superblock.bigEndian(UInt32.self, at: 0) == Self.superblockMagic,
            (512...65536).contains(blockSize), blockSize.nonzeroBitCount == 1,
            (512...32768).contains(sectorSize), sectorSize.nonzeroBitCount == 1, groupBlocks > 0
        else { throw FreeSpaceError.malformed }
    }

    func checkIsClean() throws {
        let version = superblock.bigEndian(UInt16.self, at: 100) & 0xf
        guard version == 4 || version == 5 else { throw FreeSpaceError.unsupported }
        // mkfs or a growing has not ended.
        guard superblock[126] == 0 else { throw FreeSpaceError.notClean }
        if hasChecksums {
            guard superblock.bigEndian(UInt32.self, at: 216) & ~Self.known.mount == 0,
                superblock.bigEndian(UInt32.self, at: 212) & ~Self.known.write == 0,
                // Only a mounted one has parts of the log's own.
                superblock.bigEndian(UInt32.self, at: 220) == 0
            else { throw FreeSpaceError.unsupported }
        }
        try XFSLog(superblock: superblock, bytes: bytes).checkIsClean()
    }

    func forEach(_ found: (ByteRun) throws -> Void) throws {
        for group in 0..<groups { try forEach(in: group, found) }
    }

    private func forEach(in group: UInt64, _ found: (ByteRun) throws -> Void) throws {
        // At most 2^32 groups of 2^32 blocks of 2^16 bytes: that may overflow.
        let (block, isFar) = (group * groupBlocks).multipliedReportingOverflow(by: blockSize)
        guard !isFar, block < bytes.size else { throw FreeSpaceError.malformed }
        let header = try bytes.read(at: block + sectorSize, count: Int(sectorSize))
        let length = header.bigEndian(UInt32.self, at: 12)
        guard header.bigEndian(UInt32.self, at: 0) == Self.groupMagic, UInt64(length) <= groupBlocks else {
            throw FreeSpaceError.malformed
        }
        if isExact { try check(header, group) }
        let tree = Tree(
            bytes: bytes, start: block, blockSize: blockSize, length: length, isChecked: isExact && hasChecksums)
        var total: UInt64 = 0
        try tree.forEach(root: header.bigEndian(at: 16), levels: header.bigEndian(at: 28)) { first, count in
            try found(ByteRun(start: block + UInt64(first) * blockSize, length: UInt64(count) * blockSize))
            total += UInt64(count)
        }
        guard !isExact || total == UInt64(header.bigEndian(UInt32.self, at: 52)) else { throw FreeSpaceError.malformed }
    }

    private func check(_ header: [UInt8], _ group: UInt64) throws {
        guard UInt64(header.bigEndian(UInt32.self, at: 8)) == group,
            !hasChecksums || Self.isWhole(header, checksum: Self.groupChecksum)
        else { throw FreeSpaceError.malformed }
    }

    /// Whether a block has the checksum that it says.
    private static func isWhole(_ block: [UInt8], checksum place: Int) -> Bool {
        CRC32C.of(block[...], zeroing: place..<place + 4) == block.littleEndian(UInt32.self, at: place)
    }

    /// The tree of one group.
    private struct Tree {
        let bytes: DiskBytes
        /// The group's first byte.
        let start: UInt64
        let blockSize: UInt64
        /// The group's blocks.
        let length: UInt32
        /// Whether its blocks must have the right checksums.
        let isChecked: Bool

        func forEach(root: UInt32, levels: UInt32, _ found: (UInt32, UInt32) throws -> Void) throws {
            guard (1...mostLevels).contains(levels) else { throw FreeSpaceError.malformed }
            var node = try node(root, level: levels - 1)
            while node.level > 0 { node = try self.node(node.firstChild(), level: node.level - 1) }
            var end: UInt64 = 0
            while true {
                for index in 0..<node.count {
                    let (first, count) = node.record(index)
                    guard UInt64(first) >= end, count > 0, UInt64(first) + UInt64(count) <= length else {
                        throw FreeSpaceError.malformed
                    }
                    try found(first, count)
                    end = UInt64(first) + UInt64(count)
                }
                guard node.next != none else { return }
                node = try self.node(node.next, level: 0)
                // An empty leaf behind another would make no progress.
                guard node.count > 0 else { throw FreeSpaceError.malformed }
            }
        }

        private func node(_ block: UInt32, level: UInt32) throws -> Node {
            guard block < length else { throw FreeSpaceError.malformed }
            let bytes = try bytes.read(at: start + UInt64(block) * blockSize, count: Int(blockSize))
            // Behind the node's neighbours, its place and its owner.
            guard !isChecked || isWhole(bytes, checksum: 52) else { throw FreeSpaceError.malformed }
            let node = Node(bytes)
            guard let node, node.level == level else { throw FreeSpaceError.malformed }
            return node
        }
    }

    /// A block of a tree.
    private struct Node {
        let bytes: [UInt8]
        let header: Int
        let level: UInt32
        let count: Int
        /// The one to its right.
        let next: UInt32

        init?(_ bytes: [UInt8]) {
            self.bytes = bytes
            guard let header = treeMagics[bytes.bigEndian(at: 0)] else { return nil }
            self.header = header
            level = UInt32(bytes.bigEndian(UInt16.self, at: 4))
            count = Int(bytes.bigEndian(UInt16.self, at: 6))
            next = bytes.bigEndian(at: 12)
            // A record has 8 bytes; in an inner block a pointer of 4 bytes follows the keys.
            guard count <= (bytes.count - header) / (level == 0 ? 8 : 12), level == 0 || count > 0 else { return nil }
        }

        func record(_ index: Int) -> (first: UInt32, count: UInt32) {
            (bytes.bigEndian(at: header + index * 8), bytes.bigEndian(at: header + index * 8 + 4))
        }

        func firstChild() -> UInt32 { bytes.bigEndian(at: header + (bytes.count - header) / 12 * 8) }
    }
}
