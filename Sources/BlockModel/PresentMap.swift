/// The blocks whose bytes are in the destination's image. One bit a block.
///
/// Invariant 2: a block is marked after its bytes are in the image, never before.
public final class PresentMap: Sendable {
    package let bitmap: AtomicBitmap

    /// A map with no block present.
    public init(geometry: BlockGeometry) {
        bitmap = AtomicBitmap(count: geometry.blockCount)
    }

    /// Marks blocks whose bytes have just been written.
    public func mark(_ blocks: Range<UInt64>) {
        bitmap.set(blocks)
    }

    /// Forgets blocks that the source has written again.
    public func forget(_ blocks: Range<UInt64>) {
        bitmap.clear(blocks)
    }

    /// The first run of missing blocks in a range; nil where all are present.
    public func nextMissing(in blocks: Range<UInt64>) -> Range<UInt64>? {
        bitmap.clearRun(in: blocks)
    }

    /// All runs of missing blocks, ascending, as an array: its memory grows with their number.
    public func missingRuns() -> [Range<UInt64>] { Array(allMissing) }

    /// All runs of missing blocks, ascending, each found when it is asked for.
    public var allMissing: BitRuns { BitRuns(bitmap: bitmap, value: false, range: 0..<bitmap.count) }

    /// Runs of present blocks in a range, ascending, found as they are asked for: a word of the map at a time.
    public func presentRuns(in blocks: Range<UInt64>) -> BitRuns {
        BitRuns(bitmap: bitmap, value: true, range: blocks)
    }

    /// Whether a block's bytes are in the image.
    public func isPresent(_ block: UInt64) -> Bool {
        bitmap.isSet(block)
    }

    /// The number of blocks in a range that are not yet in the image; a snapshot.
    public func missing(in blocks: Range<UInt64>) -> UInt64 { UInt64(blocks.count) - bitmap.countSet(in: blocks) }

    /// The number of blocks not yet in the image; a snapshot.
    public func missing() -> UInt64 {
        bitmap.count - bitmap.countSet()
    }
}
