import BlockModel

/// Which blocks requests and fills hold against each other.
extension PostCopyScheduler {
    /// The missing blocks of a range that neither a request is writing nor a fill, ascending.
    func freeMissing(in range: Range<UInt64>) -> [Range<UInt64>] {
        let claims = [Array(writing.values), Array(fills.values.joined())].joined()
        return Self.without(claims.filter { $0.overlaps(range) }, map.missingRuns(in: range))
    }

    /// The parts of ascending runs that no claim covers, ascending. It goes over each list once: the source decides how many
    /// runs there are.
    static func without(_ claims: [Range<UInt64>], _ runs: [Range<UInt64>]) -> [Range<UInt64>] {
        let claims = claims.sorted { $0.lowerBound < $1.lowerBound }
        var parts: [Range<UInt64>] = []
        var next = 0
        // Up to here, the claims before the next one cover everything that is not free.
        var covered: UInt64 = 0
        for run in runs {
            var position = max(run.lowerBound, min(covered, run.upperBound))
            while next < claims.count, claims[next].lowerBound < run.upperBound {
                if claims[next].lowerBound > position { parts.append(position..<claims[next].lowerBound) }
                covered = max(covered, claims[next].upperBound)
                position = max(position, min(covered, run.upperBound))
                next += 1
            }
            if position < run.upperBound { parts.append(position..<run.upperBound) }
        }
        return parts
    }
}
