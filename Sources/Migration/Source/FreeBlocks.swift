import Block
import BlockModel
import MigrationProtocol

/// The blocks of a disk that its file systems call free, outside holes. They are read while a migration begins, and known some
/// time later. Any thread may use them.
///
/// They decide an order only: a file system that is in use, or that lies, makes none of its blocks stay behind.
final class FreeBlocks: Sendable {
    /// Reads the free blocks of an image; blocks its thread.
    typealias Reader = @Sendable (any DiskImage, BlockGeometry) -> BlockSet

    /// How often a reading is looked after while the disk may be wanted at once.
    private static let lookInterval = Duration.milliseconds(20)
    /// The time that finding the holes may take: a fragmented image has very many. What is not known by then counts as used.
    private static let holesLimit = Duration.seconds(5)

    private struct Found {
        var blocks: BlockSet
        var bytes: UInt64 = 0
    }

    private let geometry: BlockGeometry
    /// nil while they are being read.
    private let found: WatchedValue<Found?>

    /// Begins to read them; with no reader there are none.
    init(of image: any DiskImage, _ geometry: BlockGeometry, _ reader: Reader?) {
        self.geometry = geometry
        let none = Found(blocks: BlockSet(of: geometry.blockCount))
        found = WatchedValue(reader == nil ? none : nil)
        guard let reader else { return }
        Task { [found] in
            let free = try? await BlockingWork.run {
                let blocks = try Self.outsideHoles(reader(image, geometry), image.on(geometry), geometry)
                return Found(blocks: blocks, bytes: blocks.reduce(0) { $0 + geometry.byteCount(of: $1) })
            }
            found.withLockedValue { $0 = free ?? none }
        }
    }

    /// The free blocks; none while they are not known.
    var blocks: BlockSet { found.withLockedValue { $0?.blocks } ?? BlockSet(of: geometry.blockCount) }

    /// Waits until they are known, the time is over, or the disk is wanted at once.
    func wait(atMost limit: Duration, unless isWanted: () -> Bool) async {
        let end = ContinuousClock.now + limit
        while found.withLockedValue({ $0 == nil }), !isWanted(), .now < end, !Task.isCancelled {
            await found.wait(until: { $0 != nil }, atMost: Self.lookInterval)
        }
    }

    /// The bytes of them; nil if there are none, or they are not known.
    var known: UInt64? { found.withLockedValue { $0.flatMap { $0.bytes > 0 ? $0.bytes : nil } } }

    /// The bytes of them among blocks that are sent.
    func bytes(in runs: [BlockRange]) -> UInt64 {
        let free = blocks
        if free.isEmpty { return 0 }
        return runs.reduce(0) { sum, run in
            let blocks = (run.first..<run.first + run.count).lazy.filter { free.contains($0) }
            return sum + UInt64(blocks.count) * UInt64(geometry.blockSize)
        }
    }

    /// - Parameter image: with the offsets of the grid.
    private static func outsideHoles(
        _ free: BlockSet, _ image: any DiskImage, _ geometry: BlockGeometry
    ) throws -> BlockSet {
        var outside = BlockSet(of: geometry.blockCount)
        let end = ContinuousClock.now + holesLimit
        // The last data that was found; many free runs may lie in it.
        var data: Range<UInt64> = 0..<0
        for run in free {
            var place = run.lowerBound
            while place < run.upperBound {
                if data.upperBound <= place {
                    guard .now < end, let next = try image.nextData(from: place * UInt64(geometry.blockSize)) else {
                        return outside
                    }
                    data = geometry.blocks(touching: next)
                }
                let blocks = data.clamped(to: place..<run.upperBound)
                if blocks.isEmpty { break }
                outside.insert(blocks)
                place = blocks.upperBound
            }
        }
        return outside
    }
}
