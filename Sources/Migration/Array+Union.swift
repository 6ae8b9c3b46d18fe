extension [Range<UInt64>] {
    /// The blocks of both, as ascending runs that don't touch; each of them ascends, too.
    func union(_ other: Self) -> Self {
        (self + other).sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { union, run in
            if let last = union.last, last.upperBound >= run.lowerBound {
                union[union.count - 1] = last.lowerBound..<Swift.max(last.upperBound, run.upperBound)
            } else {
                union.append(run)
            }
        }
    }
}
