/// Divides a disk into a bounded number of equal cells. A picture of a large disk then costs as much as one of a small disk.
public struct BlockCells: Sendable, Equatable {
    /// Cells of a disk, at most.
    public static let limit: UInt64 = 4096

    /// Blocks of the disk.
    public let blockCount: UInt64
    /// Blocks of each cell but the last, at least 1.
    public let blocksPerCell: UInt64

    /// Divides a disk of so many blocks.
    public init(blockCount: UInt64) {
        self.blockCount = blockCount
        blocksPerCell = max(1, blockCount / Self.limit + (blockCount % Self.limit == 0 ? 0 : 1))
    }

    /// Number of cells.
    public var count: Int { Int((blockCount + blocksPerCell - 1) / blocksPerCell) }

    /// The blocks of a cell.
    public func blocks(of cell: Int) -> Range<UInt64> {
        let first = UInt64(cell) * blocksPerCell
        return first..<min(first + blocksPerCell, blockCount)
    }

    /// Calls `body` for each cell that a range of blocks touches, with the number of its blocks in the range.
    public func forEach(in blocks: Range<UInt64>, _ body: (_ cell: Int, _ count: UInt64) -> Void) {
        precondition(blocks.upperBound <= blockCount, "the blocks are of the disk")
        var block = blocks.lowerBound
        while block < blocks.upperBound {
            let cell = block / blocksPerCell
            let end = min((cell + 1) * blocksPerCell, blocks.upperBound)
            body(Int(cell), end - block)
            block = end
        }
    }
}
