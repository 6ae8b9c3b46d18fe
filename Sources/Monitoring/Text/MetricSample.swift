/// One value of a metric, with its labels.
public struct MetricSample: Sendable {
    /// Names and values; the names are letters, digits and underscores, the values any text.
    public let labels: [(name: String, value: String)]
    /// The value.
    public let value: MetricValue

    /// Creates a sample.
    public init(labels: [(String, String)] = [], value: MetricValue) {
        self.labels = labels.map { (name: $0.0, value: $0.1) }
        self.value = value
    }
}
