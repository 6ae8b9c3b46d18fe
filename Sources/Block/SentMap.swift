/// The blocks that were sent again lately: those of them that are dirty once more are *hot*.
///
/// A bit for two blocks: that one of them waits for the other costs little, and all the maps of
/// a source stay below a quarter of a byte a block. The two are 64 blocks apart, so that a word here is a mask for either of
/// two words of a dirty map as it stands.
public final class SentMap: Sendable {
    /// The disk that the map is of.
    public let geometry: BlockGeometry
    private let bitmap: AtomicBitmap

    /// An empty map.
    public init(geometry: BlockGeometry) {
        self.geometry = geometry
        bitmap = AtomicBitmap(count: (geometry.blockCount + 127) / 128 * 64)
    }

    /// Marks a block as sent.
    public func mark(_ block: UInt64) {
        let bit = block / 128 * 64 + block % 64
        bitmap.set(bit..<bit + 1)
    }

    /// Forgets all of them.
    public func clear() {
        for word in 0..<bitmap.numberOfWords { _ = bitmap.takeWord(at: word) }
    }

    /// Those of 64 blocks that count as sent, for a word of a dirty map.
    func mask(forWord word: Int) -> UInt64 { bitmap.word(at: word / 2) }
}
