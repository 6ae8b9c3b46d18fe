import Synchronization

/// The present map of a disk in post-copy. It is kept durable so that a crash never finds it ahead of the data
/// (invariant 2).
///
/// 1. A block is missing. 2. If its bytes come from the source's disk, it becomes *taken* and present. If the guest
/// replaces it first, it becomes present and is never taken. Neither
/// is undone. 3. `takeChanges` returns the changes
/// since its last call. Its caller then makes the image durable, and writes the changes only after that.
///
/// Any number of threads may use it. Two bits a block, and one for each 32768 blocks.
public final class DurablePresentMap: Sendable {
    /// The disk that the map is of.
    public let geometry: BlockGeometry
    package let present: AtomicBitmap
    private let taken: AtomicBitmap
    private let changedPages: AtomicBitmap
    private let missingBlocks: Atomic<Int>

    /// A map with every block missing.
    public convenience init(geometry: BlockGeometry) {
        let count = Self.paddedCount(geometry)
        self.init(geometry: geometry, present: AtomicBitmap(count: count), taken: AtomicBitmap(count: count))
    }

    /// A map in bits that are there already.
    package init(geometry: BlockGeometry, present: AtomicBitmap, taken: AtomicBitmap) {
        precondition(present.count == Self.paddedCount(geometry) && taken.count == present.count)
        self.geometry = geometry
        self.present = present
        self.taken = taken
        changedPages = AtomicBitmap(count: present.count / MapPage.blocks)
        missingBlocks = Atomic(Int(geometry.blockCount) - Int(present.countSet()))
    }

    /// Bits that each map takes: whole pages.
    package static func paddedCount(_ geometry: BlockGeometry) -> UInt64 {
        (geometry.blockCount + MapPage.blocks - 1) / MapPage.blocks * MapPage.blocks
    }

    /// The number of blocks that are not in the image.
    public var missing: UInt64 { UInt64(missingBlocks.load(ordering: .sequentiallyConsistent)) }

    /// The number of blocks in a range that are not in the image; a snapshot.
    public func missing(in blocks: Range<UInt64>) -> UInt64 { UInt64(blocks.count) - present.countSet(in: blocks) }

    /// Whether a block is in the image.
    public func isPresent(_ block: UInt64) -> Bool { present.isSet(block) }

    /// Whether a block came from the source's disk.
    public func isTaken(_ block: UInt64) -> Bool { taken.isSet(block) }

    /// Whether every block that the bytes of the disk touch is in the image.
    public func holds(offset: UInt64, length: UInt64) -> Bool {
        present.first(false, in: geometry.blocks(touchingDisk: offset..<offset + length)) == nil
    }

    /// The first missing block in a range; nil where all are present.
    public func firstMissing(in blocks: Range<UInt64>) -> UInt64? { present.first(false, in: blocks) }

    /// The first run of missing blocks in a range; nil where all are present.
    public func nextMissing(in blocks: Range<UInt64>) -> Range<UInt64>? {
        present.clearRun(in: blocks)
    }

    /// All runs of missing blocks in a range, ascending.
    public func missingRuns(in blocks: Range<UInt64>) -> [Range<UInt64>] { present.clearRuns(in: blocks) }

    /// Marks blocks whose bytes from the source are in the image, with their fingerprints recorded.
    public func markTaken(_ blocks: Range<UInt64>) {
        precondition(present.first(true, in: blocks) == nil, "a fill must never replace what is there (invariant 3)")
        taken.set(blocks)
        markPresent(blocks)
    }

    /// Marks blocks that the guest has written as a whole. Any of them may have been present before.
    public func markReplaced(_ blocks: Range<UInt64>) { markPresent(blocks) }

    /// All runs of blocks that never came from the source, ascending, each found when it is asked for.
    public var notTaken: BitRuns { BitRuns(bitmap: taken, value: false, range: 0..<geometry.blockCount) }

    /// Takes the pages that have changed since the last call.
    public func takeChanges() -> [MapPage] {
        var pages: [MapPage] = []
        for word in 0..<changedPages.numberOfWords {
            var bits = changedPages.takeWord(at: word)
            while bits != 0 {
                pages.append(page(word * 64 + bits.trailingZeroBitCount))
                bits &= bits - 1
            }
        }
        return pages
    }

    /// Takes back changes that could not be written; `takeChanges` returns them again.
    public func putBack(_ pages: [MapPage]) {
        for page in pages { changedPages.set(UInt64(page.index)..<UInt64(page.index) + 1) }
    }

    /// Marks every page as changed.
    public func touchAll() { changedPages.set(0..<changedPages.count) }

    /// Fills a map that nobody uses yet.
    public func load(_ page: MapPage) {
        let before = page.present.indices.reduce(0) {
            $0 + present.word(at: page.index * MapPage.words + $1).nonzeroBitCount
        }
        for index in 0..<MapPage.words {
            taken.setWord(at: page.index * MapPage.words + index, to: page.taken[index])
            present.setWord(at: page.index * MapPage.words + index, to: page.present[index])
        }
        let after = page.present.reduce(0) { $0 + $1.nonzeroBitCount }
        missingBlocks.subtract(after - before, ordering: .sequentiallyConsistent)
    }

    private func markPresent(_ blocks: Range<UInt64>) {
        guard !blocks.isEmpty else { return }
        precondition(blocks.upperBound <= geometry.blockCount)
        missingBlocks.subtract(Int(present.set(blocks)), ordering: .sequentiallyConsistent)
        // Set after the bits: a caller that takes the page sees them, and one that took it before takes it again.
        changedPages.set(blocks.lowerBound / MapPage.blocks..<(blocks.upperBound - 1) / MapPage.blocks + 1)
    }

    private func page(_ index: Int) -> MapPage {
        let words = index * MapPage.words..<(index + 1) * MapPage.words
        // Present bits are read first. A block's taken bit is set before its present bit, so a taken block that shows
        // as present shows as taken too.
        let present = words.map { self.present.word(at: $0) }
        return MapPage(index: index, present: present, taken: words.map { taken.word(at: $0) })
    }
}
