import BlockModel

/// The blocks of one disk that arrives or has arrived.
struct ArrivalBlockMap: Sendable {
    let geometry: BlockGeometry
    let origins: BlockOrigins
    /// Counts the blocks of a range that are missing; nil once none is.
    var missing: (@Sendable (Range<UInt64>) -> UInt64)?

    var picture: BlockPicture {
        BlockPicture(origins.cells, blockSize: geometry.blockSize) { cell in
            let blocks = origins.cells.blocks(of: cell)
            return BlockPicture.Cell(
                blocks: UInt64(blocks.count), counts: origins.counts(of: cell), missing: missing?(blocks) ?? 0, dirty: 0
            )
        }
    }

    /// Bytes that are missing; the last block counts as a whole one.
    var missingBytes: UInt64 {
        (missing?(0..<geometry.blockCount) ?? 0).multipliedClamped(by: UInt64(geometry.blockSize))
    }
}
