/// A metric with all its samples, as Prometheus' text format groups them.
public struct MetricFamily: Sendable {
    /// The kinds of metrics that a node has.
    public enum Kind: String, Sendable {
        /// A number that only grows; it begins again at 0 when the process does.
        case counter
        /// A number that goes up and down.
        case gauge
        /// Durations in classes.
        case histogram
    }

    /// The name: letters, digits and underscores, with the base unit, and `_total` for a counter.
    public let name: String
    /// One sentence for people.
    public let help: String
    /// The kind.
    public let kind: Kind
    /// The samples; a family without any is left out.
    public var samples: [MetricSample]

    /// Creates a family.
    public init(_ name: String, _ kind: Kind, _ help: String, _ samples: [MetricSample] = []) {
        self.name = name
        self.help = help
        self.kind = kind
        self.samples = samples
    }

    /// Adds a sample.
    public mutating func add(_ labels: KeyValuePairs<String, String>, _ value: MetricValue) {
        samples.append(MetricSample(labels: labels.map { ($0.key, $0.value) }, value: value))
    }
}
