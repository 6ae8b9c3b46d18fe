/// The value of a sample.
public enum MetricValue: Sendable, Equatable {
    /// A whole number, which keeps all its digits.
    case count(UInt64)
    /// Any other number; not a number and infinities are allowed.
    case number(Double)
    /// Durations in classes, for a histogram.
    case histogram(DurationHistogram)
}
