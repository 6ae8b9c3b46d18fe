/// The states of a disk's blocks at one moment, in a bounded number of cells.
public struct BlockPicture: Sendable, Equatable {
    /// Blocks of one cell, by state. They add up to the blocks of the cell.
    public struct Cell: Sendable, Equatable {
        /// Blocks that have arrived, or are known to be at the destination, by `BlockOrigin`.
        public var arrived: [UInt64]
        /// Blocks that the destination lacks.
        public var missing: UInt64
        /// Blocks that were sent and have been written since.
        public var dirty: UInt64

        /// Divides the blocks of a cell among the states.
        /// - Parameters:
        ///   - counts: what has arrived so far by origin, blocks that came again included.
        ///   - missing: blocks that lack; at most `blocks`.
        ///   - dirty: blocks that were written; at most the rest.
        public init(blocks: UInt64, counts: [UInt64], missing: UInt64, dirty: UInt64) {
            self.missing = min(missing, blocks)
            self.dirty = min(dirty, blocks - self.missing)
            let rest = blocks - self.missing - self.dirty
            let sum = counts.reduce(0, &+)
            // Blocks that nobody has counted were there before.
            guard sum > rest else {
                arrived = counts
                arrived[BlockOrigin.present.rawValue] &+= rest - sum
                return
            }
            arrived = counts.map { UInt64(Double($0) / Double(sum) * Double(rest)) }
            // The largest share gets what rounding has lost.
            let largest = counts.indices.max { counts[$0] < counts[$1] } ?? 0
            arrived[largest] &+= rest - min(rest, arrived.reduce(0, &+))
        }
    }

    /// The division of the disk.
    public let division: BlockCells
    /// Bytes of a block.
    public let blockSize: Int
    /// The cells, from the start of the disk.
    public let cells: [Cell]

    /// Creates a picture.
    /// - Parameter cell: makes the cell of that number.
    public init(_ division: BlockCells, blockSize: Int, cell: (Int) -> Cell) {
        self.division = division
        self.blockSize = blockSize
        cells = (0..<division.count).map(cell)
    }
}
