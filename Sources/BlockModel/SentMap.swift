/// The blocks that were sent again lately. A block in it that is dirty once more is *hot*.
///
/// One bit stands for two blocks, so that all maps of a source take less than a quarter of a byte a block. One block of
/// a pair then sometimes waits for the other, which costs little. Both are adjacent, in the same word of a dirty map.
/// Marking blocks of a round therefore does not change what the round takes later.
public final class SentMap: Sendable {
    /// The disk that the map is of.
    public let geometry: BlockGeometry
    private let bitmap: AtomicBitmap

    /// An empty map.
    public init(geometry: BlockGeometry) {
        self.geometry = geometry
        bitmap = AtomicBitmap(count: (geometry.blockCount + 1) / 2)
    }

    /// Marks a block as sent.
    public func mark(_ block: UInt64) { bitmap.set(block / 2..<block / 2 + 1) }

    /// Removes all blocks.
    public func clear() {
        for word in 0..<bitmap.numberOfWords { _ = bitmap.takeWord(at: word) }
    }

    /// The 64 blocks of a dirty map's word, as a mask of those that count as sent.
    package func mask(forWord word: Int) -> UInt64 {
        var bits = bitmap.word(at: word / 2) >> (word % 2 * 32) & 0xffff_ffff
        // Each bit moves to twice its place.
        bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff
        bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff
        bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f
        bits = (bits | bits << 2) & 0x3333_3333_3333_3333
        bits = (bits | bits << 1) & 0x5555_5555_5555_5555
        return bits | bits << 1
    }
}
