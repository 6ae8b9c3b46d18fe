import Block
import BlockModel

/// Shows which parts of an image's file hold data, and which are holes. Asks for a bounded number of extents, whatever the
/// size of the image and however fragmented it is.
enum AllocationPicture {
    /// Extents of one cell that are looked at; the rest of the cell then counts as data.
    private static let extentsPerCell = 8

    /// - Returns: Nil if the image can't tell. Blocks the thread.
    static func of(_ image: RawImage) -> BlockPicture? {
        guard let geometry = BlockGeometry(size: image.size, blockSize: BlockGeometry.standardBlockSize) else {
            return nil
        }
        var data: Range<UInt64>?
        do { data = try image.nextData(from: 0) } catch { return nil }
        let cells = BlockCells(blockCount: geometry.blockCount)
        return BlockPicture(cells, blockSize: geometry.blockSize) { cell in
            let blocks = cells.blocks(of: cell)
            let bytes = geometry.bytes(of: blocks)
            let present = presentBytes(in: bytes, of: image, &data)
            let presentBlocks = min(
                (present + UInt64(geometry.blockSize) - 1) / UInt64(geometry.blockSize), UInt64(blocks.count))
            var counts = [UInt64](repeating: 0, count: BlockOrigin.allCases.count)
            counts[BlockOrigin.present.rawValue] = presentBlocks
            counts[BlockOrigin.zero.rawValue] = UInt64(blocks.count) - presentBlocks
            return BlockPicture.Cell(blocks: UInt64(blocks.count), counts: counts, missing: 0, dirty: 0)
        }
    }

    /// - Parameter data: The first extent that may touch the cell; nil if none follows. Moved on.
    private static func presentBytes(
        in bytes: Range<UInt64>, of image: RawImage, _ data: inout Range<UInt64>?
    ) -> UInt64 {
        var present: UInt64 = 0
        for look in 0... {
            guard let extent = data, extent.lowerBound < bytes.upperBound else { break }
            let start = max(extent.lowerBound, bytes.lowerBound)
            let end = min(extent.upperBound, bytes.upperBound)
            present += end - min(start, end)
            guard extent.upperBound < bytes.upperBound else { break }
            if look == extentsPerCell {
                present += bytes.upperBound - end
                data = try? image.nextData(from: bytes.upperBound)
                break
            }
            data = try? image.nextData(from: extent.upperBound)
        }
        // An extent that ends with the cell is over.
        if let extent = data, extent.upperBound <= bytes.upperBound {
            data = try? image.nextData(from: bytes.upperBound)
        }
        return present
    }
}
