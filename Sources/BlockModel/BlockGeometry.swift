/// The division of a disk into blocks.
public struct BlockGeometry: Sendable, Equatable {
    /// Bytes of the disk.
    public let size: UInt64
    /// Bytes of a block; a power of two, 512 to 65536.
    public let blockSize: Int

    /// Whether blocks may have that many bytes.
    public static func isValid(blockSize: Int) -> Bool {
        (512...65536).contains(blockSize) && blockSize.nonzeroBitCount == 1
    }

    /// The default block size in bytes.
    public static let standardBlockSize = 4096

    /// - Returns: nil where the disk is empty or beyond 2^62 bytes, or the block size is not one.
    public init?(size: UInt64, blockSize: Int) {
        guard size > 0, size <= 1 << 62, Self.isValid(blockSize: blockSize) else { return nil }
        self.size = size
        self.blockSize = blockSize
    }

    /// The number of the disk's blocks; the last may be shorter than the others.
    public var blockCount: UInt64 { (size + UInt64(blockSize) - 1) / UInt64(blockSize) }

    /// The bytes of a range of blocks, ending where the disk ends.
    public func bytes(of blocks: Range<UInt64>) -> Range<UInt64> {
        min(size, blocks.lowerBound * UInt64(blockSize))..<min(size, blocks.upperBound * UInt64(blockSize))
    }

    /// The blocks that a range of bytes touches.
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
}
