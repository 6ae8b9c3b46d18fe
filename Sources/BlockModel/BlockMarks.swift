import Synchronization

/// One of a disk's maps, for clients to look at: each block is marked or not.
public final class BlockMarks: Sendable {
    private let geometry: BlockGeometry
    private let bitmap: AtomicBitmap
    /// What a bit of a marked block is.
    private let marked: Bool
    private let isRetired = Atomic(false)

    /// Marks dirty blocks.
    public init(dirty map: DirtyMap) {
        geometry = map.geometry
        bitmap = map.bitmap
        marked = true
    }

    /// Marks missing blocks.
    public init(missing map: DurablePresentMap) {
        geometry = map.geometry
        bitmap = map.present
        marked = false
    }

    /// The map is not kept any more: from now on every block is marked.
    public func retire() { isRetired.store(true, ordering: .relaxed) }

    /// What bytes are, up to where that changes.
    /// - Parameter bytes: not empty, within the disk.
    /// - Returns: whether the first of them is in a marked block, and where, at the latest at the end of `bytes`, others
    ///   begin.
    public func run(in bytes: Range<UInt64>) -> (isMarked: Bool, end: UInt64) {
        guard !isRetired.load(ordering: .relaxed) else { return (true, bytes.upperBound) }
        let touched = geometry.blocks(touching: bytes)
        // The disk may have been shorter when the map was made: of what is behind its end nobody knows.
        guard touched.lowerBound < bitmap.count else { return (true, bytes.upperBound) }
        let blocks = touched.lowerBound..<min(touched.upperBound, bitmap.count)
        let isMarked = bitmap.isSet(blocks.lowerBound) == marked
        guard let other = bitmap.first(isMarked != marked, in: blocks) else {
            return (isMarked, min(bytes.upperBound, blocks.upperBound * UInt64(geometry.blockSize)))
        }
        return (isMarked, other * UInt64(geometry.blockSize))
    }
}
