/// The first superblock of a btrfs.
struct BtrfsSuperblock {
    /// Bytes from the start of the device; all that are there of these.
    static let places: [UInt64] = [64 << 10, 64 << 20, 256 << 30]
    private static let size = 4096
    private static let magic = Array("_BHRfS_M".utf8)
    /// The parts that do not change where blocks are: neither zones, nor stripes in a tree, nor several trees of extents.
    private static let known: (mount: UInt64, write: UInt64) = (0x7ff, 0xf)
    /// It was written: every other flag is of a seed, a dump or a change of its identity.
    private static let plainFlags: UInt64 = 1

    private let bytes: [UInt8]

    /// - Throws: `FreeSpaceError`; `unsupported` for several devices, and for checksums other than CRC-32C.
    init(_ disk: DiskBytes) throws {
        bytes = try disk.read(at: Self.places[0], count: Self.size)
        guard bytes[64..<72].elementsEqual(Self.magic), bytes.littleEndian(UInt64.self, at: 48) == Self.places[0] else {
            throw FreeSpaceError.malformed
        }
        guard bytes.littleEndian(UInt16.self, at: 196) == 0, bytes.littleEndian(UInt64.self, at: 136) == 1,
            bytes.littleEndian(UInt64.self, at: 188) & ~Self.known.mount == 0,
            bytes.littleEndian(UInt64.self, at: 180) & ~Self.known.write == 0,
            bytes.littleEndian(UInt64.self, at: 56) & ~Self.plainFlags == 0
        else { throw FreeSpaceError.unsupported }
        guard CRC32C.of(bytes[32...]) == bytes.littleEndian(UInt32.self, at: 0),
            (4096...65536).contains(nodeSize), nodeSize.nonzeroBitCount == 1, deviceBytes <= disk.size,
            systemChunks.count <= 2048
        else { throw FreeSpaceError.malformed }
    }

    /// Bytes of a node of a tree.
    var nodeSize: Int { Int(bytes.littleEndian(UInt32.self, at: 148)) }
    /// The tree of all trees.
    var root: BtrfsNode.Pointer { pointer(80, generation: 72, level: 198) }
    /// The tree of chunks.
    var chunkRoot: BtrfsNode.Pointer { pointer(88, generation: 164, level: 199) }
    /// Whether files have been synchronised that the next mount has to take from the log.
    var hasLog: Bool { bytes.littleEndian(UInt64.self, at: 96) != 0 }
    /// Bytes of all extents.
    var usedBytes: UInt64 { bytes.littleEndian(at: 120) }
    /// The number of the device.
    var device: UInt64 { bytes.littleEndian(at: 201) }
    /// Bytes of the device.
    var deviceBytes: UInt64 { bytes.littleEndian(at: 209) }

    /// The chunks that the tree of chunks stands in, as that tree would say them.
    var systemChunks: ArraySlice<UInt8> {
        bytes[811..<811 + Int(min(2048, bytes.littleEndian(UInt32.self, at: 160)))]
    }

    private func pointer(_ place: Int, generation: Int, level: Int) -> BtrfsNode.Pointer {
        BtrfsNode.Pointer(
            address: bytes.littleEndian(at: place), generation: bytes.littleEndian(at: generation),
            level: bytes[level])
    }
}
