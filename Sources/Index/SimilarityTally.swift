/// The figures of one part of an image's fingerprints; parts share no fingerprint, so they add up.
struct SimilarityTally: Sendable {
    private(set) var blocks: UInt64 = 0
    private(set) var distinct: UInt64 = 0
    private(set) var found: UInt64 = 0
    private(set) var foundByNeighbour: [UInt64]

    /// - Parameter sorted: Ascending, as often as each occurs, without `.zero`.
    init(_ sorted: [Fingerprint], _ index: NeighbourIndex) {
        foundByNeighbour = [UInt64](repeating: 0, count: index.neighbours.count)
        var unique: [Fingerprint] = []
        var occurrences: [UInt64] = []
        for fingerprint in sorted {
            if unique.last == fingerprint {
                occurrences[occurrences.count - 1] += 1
            } else {
                unique.append(fingerprint)
                occurrences.append(1)
            }
        }
        blocks = UInt64(sorted.count)
        distinct = UInt64(unique.count)
        var isFound = [Bool](repeating: false, count: unique.count)
        index.findAll(unique) { neighbour, place in
            foundByNeighbour[neighbour] += occurrences[place]
            isFound[place] = true
        }
        found = zip(isFound, occurrences).reduce(0) { $0 + ($1.0 ? $1.1 : 0) }
    }

    init(sumOf tallies: [SimilarityTally], neighbours: Int) {
        foundByNeighbour = [UInt64](repeating: 0, count: neighbours)
        for tally in tallies {
            blocks += tally.blocks
            distinct += tally.distinct
            found += tally.found
            for neighbour in foundByNeighbour.indices {
                foundByNeighbour[neighbour] += tally.foundByNeighbour[neighbour]
            }
        }
    }
}
