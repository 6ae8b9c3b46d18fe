import Synchronization

/// Counts where the blocks of a disk came from, in a bounded number of cells: 160 KiB for any disk. Any thread may use it.
///
/// `@unchecked Sendable`: the memory is allocated once, freed once, and reached only through atomics.
public final class BlockOrigins: @unchecked Sendable {
    /// The division of the disk.
    public let cells: BlockCells
    private let counts: UnsafeMutablePointer<Atomic<UInt64>>
    private let total: Int

    /// Creates counts of 0.
    public init(geometry: BlockGeometry) {
        cells = BlockCells(blockCount: geometry.blockCount)
        total = max(cells.count, 1) * BlockOrigin.allCases.count
        counts = .allocate(capacity: total)
        for index in 0..<total { (counts + index).initialize(to: Atomic(0)) }
    }

    deinit {
        counts.deinitialize(count: total)
        counts.deallocate()
    }

    /// Counts blocks. Those that come again later count again.
    public func record(_ blocks: Range<UInt64>, from origin: BlockOrigin) {
        cells.forEach(in: blocks) { cell, count in
            counts[index(cell, origin)].wrappingAdd(count, ordering: .relaxed)
        }
    }

    /// Counts blocks of one cell.
    public func record(_ count: UInt64, in cell: Int, from origin: BlockOrigin) {
        counts[index(cell, origin)].wrappingAdd(count, ordering: .relaxed)
    }

    /// Blocks of each origin in a cell, in the order of `BlockOrigin`.
    public func counts(of cell: Int) -> [UInt64] {
        BlockOrigin.allCases.map { counts[index(cell, $0)].load(ordering: .relaxed) }
    }

    /// Blocks of each origin in the whole disk, in the order of `BlockOrigin`.
    public var totals: [UInt64] {
        (0..<cells.count).reduce(into: [UInt64](repeating: 0, count: BlockOrigin.allCases.count)) { sums, cell in
            for (place, count) in counts(of: cell).enumerated() { sums[place] &+= count }
        }
    }

    private func index(_ cell: Int, _ origin: BlockOrigin) -> Int {
        cell * BlockOrigin.allCases.count + origin.rawValue
    }
}
