/// Consecutive blocks.
public struct BlockRange: Sendable, Equatable {
    package var first: UInt64
    package var count: UInt64

    package init(first: UInt64, count: UInt64) {
        self.first = first
        self.count = count
    }

    /// nil where the numbers overflow.
    package var range: Range<UInt64>? {
        let (end, overflows) = first.addingReportingOverflow(count)
        return overflows ? nil : first..<end
    }
}

extension BlockRange {
    package init(_ range: Range<UInt64>) {
        self.init(first: range.lowerBound, count: UInt64(range.count))
    }
}
