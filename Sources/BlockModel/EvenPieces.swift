/// Cuts runs of blocks into pieces and takes as many as are wanted, evenly spread.
package enum EvenPieces {
    /// - Parameters:
    ///   - runs: ascending, none empty.
    ///   - piece: the most blocks of a piece, at least 1.
    ///   - most: the number of blocks to take of all runs together, at most; approximately where they are more.
    /// - Returns: pieces, ascending; the work is bounded by their number and that of the runs.
    package static func of(_ runs: [Range<UInt64>], piece: UInt64, most: UInt64) -> [Range<UInt64>] {
        let total = runs.reduce(0) { $0 + UInt64($1.count) }
        let share = total > most ? Double(most) / Double(total) : 1
        var pieces: [Range<UInt64>] = []
        var owed = 0.0
        var taken: UInt64 = 0
        guard share > 0 else { return [] }
        for run in runs {
            var start = run.lowerBound
            while start < run.upperBound {
                let left = (run.upperBound - start - 1) / piece + 1
                let steps = max(1, ((1 - owed) / share).rounded(.up))
                guard steps <= Double(left) else {
                    owed += share * Double(left)
                    break
                }
                owed += share * steps - 1
                start += (UInt64(steps) - 1) * piece
                let end = run.upperBound - start > piece ? start + piece : run.upperBound
                guard taken + (end - start) <= most else { return pieces }
                taken += end - start
                pieces.append(start..<end)
                start = end
            }
        }
        return pieces
    }
}
