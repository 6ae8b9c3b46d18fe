import Block
import BlockModel
import Hashing
import Index
import MigrationProtocol

/// Finds described blocks that need not cross the link: zero blocks, and blocks that stand in a neighbour.
struct LocalBlocks {
    /// The most blocks of one piece.
    private static let pieceBytes = 256 << 10

    /// Runs that the image holds already.
    let present: [Range<UInt64>]
    /// Runs of zero blocks.
    let zeros: [Range<UInt64>]
    /// Runs that only the source has; complete once `nextFound` has returned nil.
    private(set) var rest: [Range<UInt64>] = []

    private let fingerprints: [Fingerprint]
    /// Blocks that are zero or present.
    private let isSettled: [Bool]
    private let blocks: Range<UInt64>
    private let index: NeighbourIndex?
    private let isUrgent: Bool
    private let candidates: [Candidate?]
    private let hasher = BlockHasher()
    private var position = 0

    /// - Parameters:
    ///   - isUrgent: whether a client waits for the blocks.
    ///   - around: the described blocks before and after them. Images of other hosts are mostly found by runs.
    ///   - holds: whether the image itself holds a block of that fingerprint at that place.
    init(
        blocks: Range<UInt64>, fingerprints: [Fingerprint], index: NeighbourIndex?, isUrgent: Bool,
        around: (before: [Fingerprint], after: [Fingerprint]) = ([], []), holds: (UInt64, Fingerprint) -> Bool
    ) {
        self.blocks = blocks
        self.fingerprints = fingerprints
        self.index = index
        self.isUrgent = isUrgent
        let found = index?.lookUp(around.before + fingerprints + around.after) ?? []
        candidates = Array(found.dropFirst(around.before.count).prefix(fingerprints.count))
        if candidates.count > 1 { index?.willFetch(candidates, isUrgent: isUrgent) }
        var zeros: [Range<UInt64>] = []
        var present: [Range<UInt64>] = []
        var isSettled: [Bool] = []
        for (offset, fingerprint) in fingerprints.enumerated() {
            let block = blocks.lowerBound + UInt64(offset)
            let isZero = fingerprint == .zero
            let isPresent = !isZero && holds(block, fingerprint)
            if isZero { zeros.append(joining: block) }
            if isPresent { present.append(joining: block) }
            isSettled.append(isZero || isPresent)
        }
        self.zeros = zeros
        self.present = present
        self.isSettled = isSettled
    }

    /// The next run that a neighbour has, with its bytes, read and hashed just now (invariant 4); nil at the end.
    mutating func nextFound(_ geometry: BlockGeometry) -> (Range<UInt64>, BlockBuffer)? {
        var first: UInt64?
        var count = 0
        let limit = Self.pieceBytes / geometry.blockSize
        var buffer: BlockBuffer?
        while position < fingerprints.count, count < limit {
            let block = blocks.lowerBound + UInt64(position)
            let isSettled = self.isSettled[position]
            if !isSettled, let index, let candidate = candidates[position] {
                let memory = buffer ?? BlockBuffer(byteCount: limit * geometry.blockSize)
                buffer = memory
                let room = memory.slice(count * geometry.blockSize, geometry.blockSize)
                let isFetched = index.fetch(
                    candidate, expecting: fingerprints[position], into: room, hasher: hasher, isUrgent: isUrgent)
                if isFetched {
                    first = first ?? block
                    count += 1
                    position += 1
                    continue
                }
            }
            if !isSettled { rest.append(joining: block) }
            position += 1
            if count > 0 { break }
        }
        guard let first, let buffer else { return nil }
        return (first..<first + UInt64(count), buffer)
    }
}
