/// The division of a disk into blocks.
public struct BlockGeometry: Sendable, Equatable {
    /// Bytes of all blocks: those of the disk, and what fills its sections up where it has a layout.
    public let size: UInt64
    /// Bytes of a block; a power of two, 512 to 65536.
    public let blockSize: Int
    /// The grid of blocks that begin elsewhere; nil if each begins at a multiple of the block size.
    public let layout: GridLayout?

    /// Whether blocks may have that many bytes.
    public static func isValid(blockSize: Int) -> Bool {
        (512...65536).contains(blockSize) && blockSize.nonzeroBitCount == 1
    }

    /// The default block size in bytes.
    public static let standardBlockSize = 4096

    /// - Parameters:
    ///   - size: bytes of the disk.
    ///   - origins: places at which a block begins, besides the start of the disk; ascending multiples of 512.
    /// - Returns: nil where the disk is empty or beyond 2^62 bytes, the block size is not one, or the origins are not valid.
    public init?(size: UInt64, blockSize: Int, origins: [UInt64] = []) {
        guard size > 0, size <= 1 << 62, Self.isValid(blockSize: blockSize),
            GridLayout.isValid(origins, diskSize: size)
        else { return nil }
        let isPlain = origins.allSatisfy { $0 % UInt64(blockSize) == 0 }
        layout = isPlain ? nil : GridLayout(origins: origins, diskSize: size, blockSize: blockSize)
        self.size = layout?.size ?? size
        self.blockSize = blockSize
    }

    /// Bytes of the disk.
    public var diskSize: UInt64 { layout?.diskSize ?? size }

    /// The origins; none if each block begins at a multiple of the block size.
    public var origins: [UInt64] { layout?.origins ?? [] }

    /// The number of blocks; the last may be shorter than the others.
    public var blockCount: UInt64 { (size + UInt64(blockSize) - 1) / UInt64(blockSize) }

    /// The bytes of the grid in a range of blocks, ending where it ends. Without a layout they are those of the disk.
    public func bytes(of blocks: Range<UInt64>) -> Range<UInt64> {
        min(size, blocks.lowerBound * UInt64(blockSize))..<min(size, blocks.upperBound * UInt64(blockSize))
    }

    /// The blocks that a range of bytes of the grid touches.
    public func blocks(touching bytes: Range<UInt64>) -> Range<UInt64> {
        guard !bytes.isEmpty else { return 0..<0 }
        let blockSize = UInt64(blockSize)
        return bytes.lowerBound / blockSize..<(bytes.upperBound - 1) / blockSize + 1
    }

    /// The number of bytes in a range of blocks, which may include the shorter last one.
    public func byteCount(of blocks: Range<UInt64>) -> UInt64 {
        let range = bytes(of: blocks)
        return range.upperBound - range.lowerBound
    }

    // MARK: The disk

    /// The first byte of a block on the disk. Beyond the last block, as if the disk went on.
    public func diskStart(of block: UInt64) -> UInt64 {
        let start = block * UInt64(blockSize)
        return layout?.disk(ofGrid: start) ?? start
    }

    /// The bytes of the disk in a range of blocks; they are consecutive, and may be fewer than those of the grid.
    public func diskBytes(of blocks: Range<UInt64>) -> Range<UInt64> {
        let size = diskSize
        return min(size, diskStart(of: blocks.lowerBound))..<min(size, diskStart(of: blocks.upperBound))
    }

    /// The blocks that a range of bytes of the disk touches.
    public func blocks(touchingDisk bytes: Range<UInt64>) -> Range<UInt64> {
        guard let layout, !bytes.isEmpty else { return blocks(touching: bytes) }
        return blocks(touching: layout.gridRange(ofDisk: bytes))
    }

    /// The blocks of which a range of bytes of the disk has every byte; the last one of the disk may be short.
    /// - Parameter bytes: not beyond the end of the disk.
    public func blocks(withinDisk bytes: Range<UInt64>) -> Range<UInt64> {
        let size = UInt64(blockSize)
        let first = ((layout?.grid(ofDisk: bytes.lowerBound) ?? bytes.lowerBound) + size - 1) / size
        let end =
            bytes.upperBound == diskSize
            ? blockCount : (layout?.grid(ofDisk: bytes.upperBound) ?? bytes.upperBound) / size
        return first < end ? first..<end : 0..<0
    }

    /// The runs of the grid that hold a range of bytes of the disk, ascending. Each is its start in the grid, and its part of
    /// the range.
    public func gridRuns(ofDisk bytes: Range<UInt64>) -> [(grid: UInt64, disk: Range<UInt64>)] {
        guard let layout, !bytes.isEmpty else { return bytes.isEmpty ? [] : [(bytes.lowerBound, bytes)] }
        var runs: [(grid: UInt64, disk: Range<UInt64>)] = []
        layout.forEachPart(of: layout.gridRange(ofDisk: bytes)) { part, place in
            if let place { runs.append((part.lowerBound, place..<place + UInt64(part.count))) }
        }
        return runs
    }
}
