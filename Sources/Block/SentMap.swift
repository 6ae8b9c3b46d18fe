/// The blocks that were sent again lately, one bit each: those of them that are dirty once more are *hot*.
public final class SentMap: Sendable {
    let bitmap: AtomicBitmap

    /// An empty map.
    public init(geometry: BlockGeometry) {
        bitmap = AtomicBitmap(count: geometry.blockCount)
    }

    /// Marks a block as sent.
    public func mark(_ block: UInt64) { bitmap.set(block..<block + 1) }

    /// Forgets all of them.
    public func clear() {
        for word in 0..<bitmap.numberOfWords { _ = bitmap.takeWord(at: word) }
    }
}
