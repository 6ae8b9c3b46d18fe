import Block
import BlockModel
import Hashing
import Index
import MigrationCore
import MigrationProtocol

/// A disk that may arrive: finds the blocks that it would lack, and changes nothing.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class EstimatedDisk: @unchecked Sendable {
    private let base: (any DiskImage)?
    private let geometry: BlockGeometry
    private let index: NeighbourIndex?
    private let isShared: ([UInt64]) -> [Bool]
    private let hasher = BlockHasher()
    private var repeats: RepeatCache
    /// Whether the images of neighbours are there, of those that were looked at.
    private var presence: [Int: Bool] = [:]
    private var next: UInt64 = 0
    private var nextSummary: UInt64 = 0

    /// - Parameters:
    ///   - base: an older copy of the disk.
    ///   - isShared: whether blocks with these prefixes have come for other disks.
    init(
        base: (any DiskImage)?, geometry: BlockGeometry, index: NeighbourIndex?,
        isShared: @escaping ([UInt64]) -> [Bool]
    ) {
        self.base = base
        self.geometry = geometry
        self.index = index
        self.isShared = isShared
        repeats = RepeatCache(blocks: geometry.blockCount)
    }

    /// The blocks of a manifest segment that a migration would want. The index is trusted where a
    /// neighbour's image is there; its blocks are not read.
    /// - Throws: `MigrationError.unexpected` if a segment comes a second time: each answer costs reads.
    func resolve(_ segment: ManifestSegment) throws -> Wants {
        guard segment.first >= next else { throw MigrationError.unexpected("a segment out of order") }
        next = segment.first + UInt64(segment.entries.count)
        let prefixes = segment.prefixes
        let candidates = index?.lookUp(prefixes: prefixes)
        let isShared = isShared(prefixes)
        var wants = Wants(first: segment.first, wanted: [], present: 0, repeated: 0, neighbour: 0)
        for (offset, entry) in segment.entries.enumerated() {
            let block = segment.first + UInt64(offset)
            guard case .prefix(let prefix) = entry else {
                wants.wanted.append(false)
                continue
            }
            let isElsewhere = isPresent(candidates?[offset]) || isShared[offset]
            wants.wanted.append(!isHere(prefix, block, isElsewhere: isElsewhere, &wants))
        }
        return wants
    }

    /// Whether a neighbour has a block, as far as the index says and its image is there.
    private func isPresent(_ candidate: Candidate?) -> Bool {
        guard let index, let candidate else { return false }
        if let known = presence[candidate.neighbour] { return known }
        let isPresent = index.isPresent(candidate.neighbour)
        presence[candidate.neighbour] = isPresent
        return isPresent
    }

    /// Finds the groups of a summary that are not here.
    /// - Throws: `MigrationError.unexpected` as `resolve` does.
    func compare(_ summary: ManifestSummary) throws -> ManifestDifferences {
        guard summary.first >= nextSummary else { throw MigrationError.unexpected("a summary out of order") }
        nextSummary = summary.first + UInt64(summary.count)
        guard let base else { return .all(of: summary) }
        return base.compare(summary, geometry, hasher) { repeats.note($1, from: $0.lowerBound) }
    }

    /// Counts the origin of a block; false if that is the source.
    private func isHere(_ prefix: UInt64, _ block: UInt64, isElsewhere: Bool, _ wants: inout Wants) -> Bool {
        let bytes = geometry.byteCount(of: block..<block + 1)
        if let base, base.fingerprint(of: block, geometry, hasher)?.high == prefix {
            wants.present += bytes
        } else if repeats.block(with: prefix) != nil {
            wants.repeated += bytes
        } else if isElsewhere {
            wants.neighbour += bytes
        } else {
            // Repeats of a block would be asked for too, as long as it is on its way.
            return false
        }
        repeats.note(prefix, at: block)
        return true
    }
}
