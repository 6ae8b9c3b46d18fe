/// Cuts runs of blocks into pieces and takes as many as are wanted, evenly spread.
package enum EvenPieces {
    /// - Parameters:
    ///   - runs: ascending, none empty.
    ///   - piece: the most blocks of a piece, at least 1.
    ///   - most: the number of blocks to take of all runs together, at most; approximately where they are more.
    package static func of(_ runs: [Range<UInt64>], piece: UInt64, most: UInt64) -> [Range<UInt64>] {
        let total = runs.reduce(0) { $0 + UInt64($1.count) }
        let share = total > most ? Double(most) / Double(total) : 1
        var pieces: [Range<UInt64>] = []
        var owed = 0.0
        var taken: UInt64 = 0
        for run in runs {
            var start = run.lowerBound
            while start < run.upperBound {
                let end = run.upperBound - start > piece ? start + piece : run.upperBound
                owed += share
                if owed >= 1, taken + (end - start) <= most {
                    owed -= 1
                    taken += end - start
                    pieces.append(start..<end)
                }
                start = end
            }
        }
        return pieces
    }
}
