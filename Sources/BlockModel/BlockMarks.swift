import Synchronization

/// A view of one of a disk's maps for clients: each block is marked or not.
public final class BlockMarks: Sendable {
    private let geometry: BlockGeometry
    private let bitmap: AtomicBitmap
    /// The value of a marked block's bit.
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

    /// The map is not kept any more; from now on every block is marked.
    public func retire() { isRetired.store(true, ordering: .relaxed) }

    /// Tells whether the first of these bytes is marked, and how far that holds.
    /// - Parameter bytes: not empty, within the disk.
    /// - Returns: whether the first byte is in a marked block, and the offset at which that may change; at most the end
    ///   of `bytes`.
    public func run(in bytes: Range<UInt64>) -> (isMarked: Bool, end: UInt64) {
        guard !isRetired.load(ordering: .relaxed) else { return (true, bytes.upperBound) }
        let touched = geometry.blocks(touchingDisk: bytes)
        // The disk may have been shorter when the map was made. Nobody knows about blocks behind that end, so they
        // count as marked.
        guard touched.lowerBound < bitmap.count else { return (true, bytes.upperBound) }
        let blocks = touched.lowerBound..<min(touched.upperBound, bitmap.count)
        let isMarked = bitmap.isSet(blocks.lowerBound) == marked
        guard let other = bitmap.first(isMarked != marked, in: blocks) else {
            return (isMarked, min(bytes.upperBound, geometry.diskStart(of: blocks.upperBound)))
        }
        return (isMarked, geometry.diskStart(of: other))
    }
}
