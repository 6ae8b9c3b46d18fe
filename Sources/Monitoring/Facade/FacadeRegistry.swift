import CoreMetrics
import NIOConcurrencyHelpers

/// The backend of swift-metrics: keeps what code changes through that facade, for `families`.
///
/// Only for what happens seldom: each change is a call through an existential and takes a lock or an atomic operation.
/// Requests of NBD clients are counted by `RequestTally` of the server.
public final class FacadeRegistry: MetricsFactory, Sendable {
    private struct Key: Hashable {
        let name: String
        let labels: [String]
    }

    private let known: [String: FacadeMetric]
    private let order: [String]
    private let values = NIOLockedValueBox<[Key: FacadeValue]>([:])

    /// Creates a registry.
    /// - Parameter metrics: the metrics that are kept, in the order of the text. Others are dropped, so that no code can
    ///   make more of them.
    public init(_ metrics: [FacadeMetric]) {
        known = Dictionary(uniqueKeysWithValues: metrics.map { ($0.name, $0) })
        order = metrics.map(\.name)
    }

    /// The metrics that have been created so far, with their values.
    public var families: [MetricFamily] {
        let values = values.withLockedValue { $0 }
        return order.compactMap { name in
            let samples = values.filter { $0.key.name == name }.sorted {
                $0.key.labels.lexicographicallyPrecedes($1.key.labels)
            }
            guard let metric = known[name], let first = samples.first else { return nil }
            return MetricFamily(name, first.value.kind, metric.help, samples.map(\.value.sample))
        }
    }

    private func value(
        _ name: String, _ dimensions: [(String, String)], _ kind: MetricFamily.Kind
    ) -> FacadeValue {
        guard let metric = known[name] else { return FacadeValue(kind: kind, labels: dimensions, bounds: []) }
        let key = Key(name: name, labels: dimensions.flatMap { [$0.0, $0.1] })
        return values.withLockedValue { values in
            if let value = values[key] { return value }
            let value = FacadeValue(kind: kind, labels: dimensions, bounds: metric.bounds)
            values[key] = value
            return value
        }
    }

    /// `MetricsFactory`.
    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        value(label, dimensions, .counter)
    }

    /// `MetricsFactory`.
    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        value(label, dimensions, .gauge)
    }

    /// `MetricsFactory`: the last value is kept, without a distribution.
    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        value(label, dimensions, .gauge)
    }

    /// `MetricsFactory`.
    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        value(label, dimensions, .histogram)
    }

    /// `MetricsFactory`: values stay, since Prometheus expects a metric not to vanish.
    public func destroyCounter(_ handler: any CounterHandler) {}
    /// `MetricsFactory`.
    public func destroyMeter(_ handler: any MeterHandler) {}
    /// `MetricsFactory`.
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    /// `MetricsFactory`.
    public func destroyTimer(_ handler: any TimerHandler) {}
}
