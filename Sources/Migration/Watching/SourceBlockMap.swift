import BlockModel
import MigrationProtocol
import NIOConcurrencyHelpers

/// Shows which blocks of a disk that moves away are at the destination, and where they came from. Any thread may use it.
final class SourceBlockMap: Sendable {
    private let geometry: BlockGeometry
    private let dirtyMap: DirtyMap
    private let origins: BlockOrigins
    /// Blocks of each cell that the destination lacked at the switchover and has not been sent since; nil before it.
    private let missing = NIOLockedValueBox<[UInt64]?>(nil)

    init(dirtyMap: DirtyMap) {
        geometry = dirtyMap.geometry
        self.dirtyMap = dirtyMap
        origins = BlockOrigins(geometry: dirtyMap.geometry)
    }

    private var cells: BlockCells { origins.cells }

    /// Blocks are at the destination.
    func record(_ blocks: Range<UInt64>, from origin: BlockOrigin) {
        origins.record(blocks, from: origin)
        missing.withLockedValue { missing in
            guard missing != nil else { return }
            cells.forEach(in: blocks) { cell, count in missing![cell] -= min(missing![cell], count) }
        }
    }

    /// The zero blocks of a segment, which the destination knows by its manifest.
    func record(zerosOf segment: ManifestSegment) {
        for (offset, entry) in segment.entries.enumerated() where entry == .zero {
            let block = segment.first + UInt64(offset)
            origins.record(block..<block + 1, from: .zero)
        }
    }

    /// A batch that has been sent.
    func record(_ batch: BlockSender.Batch) {
        for run in batch.zeros { record(run.first..<run.first + run.count, from: .zero) }
        record(sent: batch.data?.runs ?? [])
    }

    /// Runs whose bytes have been sent.
    func record(sent runs: [BlockRange]) {
        for run in runs { record(run.first..<run.first + run.count, from: .link) }
    }

    /// The blocks of a segment that the destination has found. It says how many it has found where, but not which: they
    /// are spread over all that it does not want.
    func record(found wants: Wants) {
        var shares: [(cell: Int, count: UInt64)] = []
        for (offset, isWanted) in wants.wanted.enumerated() where !isWanted {
            let cell = Int((wants.first + UInt64(offset)) / cells.blocksPerCell)
            if shares.last?.cell == cell { shares[shares.count - 1].count += 1 } else { shares.append((cell, 1)) }
        }
        let sum = shares.reduce(0) { $0 + $1.count }
        let parts: [(BlockOrigin, UInt64)] = [
            (.present, wants.present), (.repeated, wants.repeated), (.neighbour, wants.neighbour),
        ]
        for (origin, bytes) in parts where sum > 0 {
            // The answer is the peer's, and no number of it may overflow.
            let found = min(bytes / UInt64(geometry.blockSize), sum)
            var given: UInt64 = 0
            var before: UInt64 = 0
            for share in shares {
                before += share.count
                let until = found * before / sum
                origins.record(until - given, in: share.cell, from: origin)
                given = until
            }
        }
    }

    /// The disk has been switched over, and these blocks will follow.
    func switchedOver(missing blocks: BlockSet) {
        var counts = [UInt64](repeating: 0, count: cells.count)
        for run in blocks { cells.forEach(in: run) { counts[$0] += $1 } }
        missing.withLockedValue { $0 = counts }
    }

    /// The blocks now.
    /// - Parameter left: blocks that the destination lacks, as it has said; nil if that is not known.
    func picture(left: UInt64?) -> BlockPicture {
        let missing = missing.withLockedValue { $0 }
        let sum = missing?.reduce(0, &+) ?? 0
        // The destination finds some by itself, and does not say which.
        let factor = left.map { sum == 0 ? 0 : min(1, Double($0) / Double(sum)) } ?? 1
        return BlockPicture(cells, blockSize: geometry.blockSize) { cell in
            let blocks = cells.blocks(of: cell)
            let (count, counts) = (UInt64(blocks.count), origins.counts(of: cell))
            if let missing {
                return BlockPicture.Cell(
                    blocks: count, counts: counts, missing: UInt64((Double(missing[cell]) * factor).rounded(.up)),
                    dirty: 0)
            }
            let dirty = dirtyMap.count(in: blocks)
            let known = min(counts.reduce(0, &+), count)
            return BlockPicture.Cell(
                blocks: count, counts: counts, missing: count - min(count, max(known, dirty)), dirty: dirty)
        }
    }
}
