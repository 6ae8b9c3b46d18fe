import Block
import Index

/// A disk that may arrive: tells what it would lack, and touches nothing.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class EstimatedDisk: @unchecked Sendable {
    private let base: RawImage?
    private let geometry: BlockGeometry
    private let index: NeighbourIndex?
    private let isShared: ([UInt64]) -> [Bool]
    private let hasher = BlockHasher()
    private var repeats: RepeatCache

    /// - Parameters:
    ///   - base: an older copy of the disk.
    ///   - isShared: whether blocks with these prefixes have come for other disks.
    init(
        base: RawImage?, geometry: BlockGeometry, index: NeighbourIndex?, isShared: @escaping ([UInt64]) -> [Bool]
    ) {
        self.base = base
        self.geometry = geometry
        self.index = index
        self.isShared = isShared
        repeats = RepeatCache(blocks: geometry.blockCount)
    }

    /// What would be wanted of a manifest segment. Neighbours are not read: what the index says counts.
    func resolve(_ segment: ManifestSegment) -> Wants {
        let prefixes = segment.prefixes
        let candidates = index?.lookUp(prefixes: prefixes)
        let isShared = isShared(prefixes)
        var wants = Wants(first: segment.first, wanted: [], present: 0, repeated: 0, neighbour: 0)
        for (offset, prefix) in prefixes.enumerated() {
            let block = segment.first + UInt64(offset)
            let bytes = geometry.byteCount(of: block..<block + 1)
            var isWanted = false
            if prefix == 0 {
                // Nothing is to be brought.
            } else if let base, base.fingerprint(of: block, geometry, hasher)?.high == prefix {
                wants.present += bytes
            } else if repeats.block(with: prefix) != nil {
                wants.repeated += bytes
            } else if candidates?[offset] != nil || isShared[offset] {
                wants.neighbour += bytes
            } else {
                isWanted = true
            }
            repeats.note(prefix, at: block)
            wants.wanted.append(isWanted)
        }
        return wants
    }
}
