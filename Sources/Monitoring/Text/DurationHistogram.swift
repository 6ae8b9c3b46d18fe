/// Durations in classes.
public struct DurationHistogram: Sendable, Equatable {
    /// Upper bounds of the classes in seconds, ascending; without the last class, which has none.
    public let bounds: [Double]
    /// Durations in each class; one more than bounds.
    public let counts: [UInt64]
    /// Sum of all durations, in seconds.
    public let sum: Double

    /// Creates a histogram.
    public init(bounds: [Double], counts: [UInt64], sum: Double) {
        precondition(counts.count == bounds.count + 1, "one class has no bound")
        self.bounds = bounds
        self.counts = counts
        self.sum = sum
    }
}
