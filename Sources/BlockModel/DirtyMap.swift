/// The blocks written since they were last sent.
///
/// The loops mark a block after a write has reached the backing and before its reply (invariant 1). The copier clears a
/// block's bit before it reads the block. One bit a block.
public final class DirtyMap: Sendable {
    /// The disk that the map is of.
    public let geometry: BlockGeometry
    package let bitmap: AtomicBitmap

    /// A clean map.
    public init(geometry: BlockGeometry) {
        self.geometry = geometry
        bitmap = AtomicBitmap(count: geometry.blockCount)
    }

    /// Marks every block that the bytes of the disk touch. Blocks behind the end of the map are ignored.
    public func mark(offset: UInt64, length: UInt64) {
        let size = geometry.diskSize
        guard length > 0, offset < size else { return }
        bitmap.set(geometry.blocks(touchingDisk: offset..<min(offset + length, size)))
    }

    /// Marks blocks.
    public func mark(blocks: Range<UInt64>) {
        bitmap.set(blocks)
    }

    /// Marks every block.
    public func markAll() { bitmap.set(0..<bitmap.count) }

    /// Marks what is dirty in another map of the same disk, which may have been longer or shorter then.
    public func mark(allOf other: DirtyMap) {
        precondition(other.geometry.blockSize == geometry.blockSize)
        bitmap.set(allOf: other.bitmap)
    }

    /// A map for the same disk at another size. New blocks are dirty, and so is the block in which the shorter of the
    /// two sizes ends. nil if the size is not valid. The disk has no layout.
    public func resized(to size: UInt64) -> DirtyMap? {
        precondition(geometry.layout == nil)
        guard let larger = BlockGeometry(size: size, blockSize: geometry.blockSize) else { return nil }
        let map = DirtyMap(geometry: larger)
        map.mark(allOf: self)
        map.markNew(since: geometry.size)
        return map
    }

    /// Marks the blocks that are new or changed since the disk was `size` bytes long.
    public func markNew(since size: UInt64) {
        let first = min(size, geometry.size) / UInt64(geometry.blockSize)
        if first < geometry.blockCount { bitmap.set(first..<geometry.blockCount) }
    }

    /// Whether a block is dirty now.
    public func isDirty(_ block: UInt64) -> Bool {
        bitmap.isSet(block)
    }

    /// The number of dirty blocks in a range; a snapshot.
    public func count(in blocks: Range<UInt64>) -> UInt64 { bitmap.countSet(in: blocks) }

    /// The number of dirty blocks; a snapshot.
    /// - Parameter sent: its blocks don't count.
    public func count(without sent: SentMap? = nil) -> UInt64 {
        guard let sent else { return bitmap.countSet() }
        precondition(sent.geometry == geometry)
        var total = 0
        for word in 0..<bitmap.numberOfWords {
            let dirty = bitmap.word(at: word)
            if dirty != 0 { total += (dirty & ~sent.mask(forWord: word)).nonzeroBitCount }
        }
        return UInt64(total)
    }

    /// Takes dirty blocks in ascending order from `cursor` on and clears their bits. Ends at about `limit` blocks or at
    /// the end of the map, and moves the cursor behind the last block looked at.
    /// - Parameters:
    ///   - cursor: a block number; a multiple of 64, as earlier calls leave it. At the end it is `blockCount` or more.
    ///   - sent: its blocks stay dirty.
    /// - Returns: at most `limit + 63` block numbers.
    public func take(from cursor: inout UInt64, limit: Int, without sent: SentMap? = nil) -> [UInt64] {
        precondition(sent == nil || sent!.geometry == geometry)
        var taken: [UInt64] = []
        var word = Int(cursor / 64)
        while word < bitmap.numberOfWords, taken.count < limit {
            var bits = bitmap.takeWord(at: word, without: sent?.mask(forWord: word) ?? 0)
            while bits != 0 {
                taken.append(UInt64(word * 64 + bits.trailingZeroBitCount))
                bits &= bits - 1
            }
            word += 1
        }
        cursor = UInt64(word) * 64
        return taken
    }
}

/// The map as words, to be kept over a restart.
extension DirtyMap {
    /// One bit for each block, the lowest for the first; other threads may change them meanwhile.
    public var words: [UInt64] { (0..<bitmap.numberOfWords).map { bitmap.word(at: $0) } }

    /// A map with these bits; bits behind the end of the disk are ignored.
    /// - Parameter words: as `words` gives them, for the same number of blocks.
    public convenience init(geometry: BlockGeometry, words: [UInt64]) {
        self.init(geometry: geometry)
        for (index, word) in words.prefix(bitmap.numberOfWords).enumerated() {
            let left = geometry.blockCount - UInt64(index) * 64
            bitmap.setWord(at: index, to: left < 64 ? word & ((1 << left) - 1) : word)
        }
    }
}
