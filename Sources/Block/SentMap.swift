/// The blocks that were sent again lately: those of them that are dirty once more are *hot*. One bit for 8 blocks, as what is
/// rewritten all the time, a journal or a table, mostly lies together.
public final class SentMap: Sendable {
    private static let group: UInt64 = 8

    private let bitmap: AtomicBitmap
    /// Words of 64 blocks, as a `DirtyMap` of the same geometry has them.
    let numberOfWords: Int

    /// An empty map.
    public init(geometry: BlockGeometry) {
        bitmap = AtomicBitmap(count: (geometry.blockCount + Self.group - 1) / Self.group)
        numberOfWords = Int((geometry.blockCount + 63) / 64)
    }

    /// Marks a block as sent, and its group with it.
    public func mark(_ block: UInt64) {
        let bit = block / Self.group
        if !bitmap.isSet(bit) { bitmap.set(bit..<bit + 1) }
    }

    /// Forgets all of them.
    public func clear() {
        for word in 0..<bitmap.numberOfWords { _ = bitmap.takeWord(at: word) }
    }

    /// A bit for each of the 64 blocks from `index * 64` on.
    func word(at index: Int) -> UInt64 {
        var groups = bitmap.word(at: index / 8) >> UInt64(index % 8 * 8) & 0xff
        var blocks: UInt64 = 0
        while groups != 0 {
            blocks |= 0xff << UInt64(groups.trailingZeroBitCount * 8)
            groups &= groups - 1
        }
        return blocks
    }
}
