import Hashing

/// Similarity counts for a part of an image's fingerprints. Add up only parts that share no fingerprint.
struct SimilarityTally: Sendable {
    private(set) var blocks: UInt64 = 0
    private(set) var distinct: UInt64 = 0
    private(set) var found: UInt64 = 0
    private(set) var foundByNeighbour: [UInt64]

    init(neighbours: Int) {
        foundByNeighbour = [UInt64](repeating: 0, count: neighbours)
    }

    /// - Parameter sorted: Nonzero fingerprints, ascending, one entry for each occurrence; none was in an earlier call.
    mutating func add(_ sorted: UnsafeBufferPointer<CatalogueEntry>, _ index: NeighbourIndex) {
        var unique: [Fingerprint] = []
        var occurrences: [UInt64] = []
        for entry in sorted {
            if unique.last == entry.fingerprint {
                occurrences[occurrences.count - 1] += 1
            } else {
                unique.append(entry.fingerprint)
                occurrences.append(1)
            }
        }
        blocks += UInt64(sorted.count)
        distinct += UInt64(unique.count)
        var isFound = [Bool](repeating: false, count: unique.count)
        index.findAll(unique) { neighbour, place, _ in
            foundByNeighbour[neighbour] += occurrences[place]
            isFound[place] = true
        }
        found += zip(isFound, occurrences).reduce(0) { $0 + ($1.0 ? $1.1 : 0) }
    }

    mutating func add(_ other: SimilarityTally) {
        blocks += other.blocks
        distinct += other.distinct
        found += other.found
        for neighbour in foundByNeighbour.indices {
            foundByNeighbour[neighbour] += other.foundByNeighbour[neighbour]
        }
    }
}
