import Synchronization

/// The present map of a disk that was handed over before all of it had arrived, kept so that a crash never finds it
/// ahead of the data (invariant 2).
///
/// 1. A block is missing. 2. Its bytes come from the source's disk: they are *taken*, and present; or the guest
/// replaces them: present, and never taken. There is no way back. 3. `takeChanges` hands out what has changed since it
/// was last called. Whoever calls it makes the image durable after the call, and writes the changes only then.
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

    /// Pages of each map.
    public var pageCount: Int { Int(present.count / MapPage.blocks) }

    /// Blocks that are not in the image.
    public var missing: UInt64 { UInt64(missingBlocks.load(ordering: .sequentiallyConsistent)) }

    /// Whether a block is in the image.
    public func isPresent(_ block: UInt64) -> Bool { present.isSet(block) }

    /// Whether a block came from the source's disk.
    public func isTaken(_ block: UInt64) -> Bool { taken.isSet(block) }

    /// Whether every block that the bytes touch is in the image.
    public func holds(offset: UInt64, length: UInt64) -> Bool {
        present.first(false, in: geometry.blocks(touching: offset..<offset + length)) == nil
    }

    /// The first missing block in a range; nil where all are present.
    public func firstMissing(in blocks: Range<UInt64>) -> UInt64? { present.first(false, in: blocks) }

    /// The first run of missing blocks in a range; nil where all are present.
    public func nextMissing(in blocks: Range<UInt64>) -> Range<UInt64>? {
        present.clearRun(in: blocks)
    }

    /// All runs of missing blocks in a range, ascending.
    public func missingRuns(in blocks: Range<UInt64>) -> [Range<UInt64>] { present.clearRuns(in: blocks) }

    /// The source's bytes of these blocks are in the image, and their fingerprints are noted.
    public func markTaken(_ blocks: Range<UInt64>) {
        precondition(present.first(true, in: blocks) == nil, "a fill must never replace what is there (invariant 3)")
        taken.set(blocks)
        markPresent(blocks)
    }

    /// The guest has written the whole of these blocks, of which any may have been there before.
    public func markReplaced(_ blocks: Range<UInt64>) { markPresent(blocks) }

    /// All runs of blocks that never came from the source, ascending.
    public func notTakenRuns() -> [Range<UInt64>] { Array(notTaken) }

    /// As `notTakenRuns`, found as they are asked for.
    public var notTaken: BitRuns { BitRuns(bitmap: taken, value: false, range: 0..<geometry.blockCount) }

    /// What has changed since the last call.
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

    /// The changes could not be written: they will be handed out again.
    public func putBack(_ pages: [MapPage]) {
        for page in pages { changedPages.set(UInt64(page.index)..<UInt64(page.index) + 1) }
    }

    /// Everything counts as changed.
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
        // After the bits: whoever takes the page sees them, and whoever took it before will take it again.
        changedPages.set(blocks.lowerBound / MapPage.blocks..<(blocks.upperBound - 1) / MapPage.blocks + 1)
    }

    private func page(_ index: Int) -> MapPage {
        let words = index * MapPage.words..<(index + 1) * MapPage.words
        // Present first: a block that is found present has been taken before, where it was taken at all.
        let present = words.map { self.present.word(at: $0) }
        return MapPage(index: index, present: present, taken: words.map { taken.word(at: $0) })
    }
}
