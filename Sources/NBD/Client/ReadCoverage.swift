/// The ranges of a read that have been answered, in any order and each at most once.
package struct ReadCoverage: Sendable {
    /// Ranges that do not join the first one; a server that scatters its answer wider is refused.
    private static let most = 256

    /// Bytes answered from the start on without a gap.
    private var first: UInt64 = 0
    /// The other ranges, in order. Empty while chunks come in order, so that a usual answer allocates nothing.
    private var others: [Range<UInt64>] = []

    /// Creates the state before the first answer.
    package init() {}

    /// Whether the answer is `length` bytes from the start on.
    package func isWhole(_ length: UInt64) -> Bool { others.isEmpty && first == length }

    /// Adds a range.
    /// - Returns: false, with nothing added, if it is empty, overlaps an earlier one, or there are too many.
    package mutating func add(_ range: Range<UInt64>) -> Bool {
        guard !range.isEmpty, range.lowerBound >= first else { return false }
        if range.lowerBound == first, others.isEmpty {
            first = range.upperBound
            return true
        }
        let index = others.firstIndex { $0.lowerBound >= range.lowerBound } ?? others.count
        guard others.count < Self.most, index == 0 || others[index - 1].upperBound <= range.lowerBound,
            index == others.count || range.upperBound <= others[index].lowerBound
        else { return false }
        others.insert(range, at: index)
        while let next = others.first, next.lowerBound == first {
            first = next.upperBound
            others.removeFirst()
        }
        return true
    }
}
