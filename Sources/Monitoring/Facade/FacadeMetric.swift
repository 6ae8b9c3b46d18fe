/// A metric that code below the daemon changes through swift-metrics, which knows no description.
public struct FacadeMetric: Sendable {
    /// The label that the code uses; the metric's name.
    public let name: String
    /// One sentence for people.
    public let help: String
    /// Upper bounds in seconds of a timer's classes; empty for other metrics.
    public let bounds: [Double]

    /// Describes a metric.
    public init(_ name: String, _ help: String, bounds: [Double] = []) {
        self.name = name
        self.help = help
        self.bounds = bounds
    }
}
