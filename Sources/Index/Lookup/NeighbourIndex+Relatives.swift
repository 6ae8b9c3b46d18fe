import BlockModel
import Hashing

/// A neighbour as a relative of a disk: similar, and not only where blocks are equal.
extension NeighbourIndex {
    /// Fingerprints of a table that are read together.
    private static let together: UInt64 = 4096

    /// The number of distinct fingerprints that each neighbour has, by its position in `neighbours`.
    /// - Parameter fingerprints: in any order; `.zero` does not count.
    package func hits(_ fingerprints: [Fingerprint]) -> [Int] {
        let sorted = Set(fingerprints).filter { $0 != .zero }.sorted()
        var seen = Array(repeating: Set<Int>(), count: neighbours.count)
        findAll(sorted) { neighbour, place, _ in seen[neighbour].insert(place) }
        return seen.map(\.count)
    }

    /// The non-zero blocks of a neighbour and their fingerprints, ascending, as its table has them.
    /// - Parameters:
    ///   - piece: blocks of consecutive ones that are taken together where not all are.
    ///   - most: the most blocks that are looked at, evenly spread over the neighbour.
    /// - Throws: `FileError` if the table can't be read.
    package func blocks(
        of neighbour: Int, piece: UInt64, most: UInt64
    ) throws -> [(block: UInt64, fingerprint: Fingerprint)] {
        let table = snapshot.tables[neighbour].fingerprints
        var runs: [Range<UInt64>] = []
        var position: UInt64 = 0
        while position < table.blockCount, let run = table.nextData(from: position) {
            runs.append(joining: run)
            position = run.upperBound
        }
        var blocks: [(block: UInt64, fingerprint: Fingerprint)] = []
        for run in EvenPieces.of(runs, piece: min(piece, Self.together), most: most) {
            try withUnsafeTemporaryAllocation(byteCount: run.count * Fingerprint.byteCount, alignment: 8) { room in
                try table.read(run, into: room)
                for place in 0..<run.count {
                    let bytes = room[place * Fingerprint.byteCount..<(place + 1) * Fingerprint.byteCount]
                    let fingerprint = Fingerprint(bytes: UnsafeRawBufferPointer(rebasing: bytes))
                    if fingerprint != .zero { blocks.append((run.lowerBound + UInt64(place), fingerprint)) }
                }
            }
        }
        return blocks
    }
}
