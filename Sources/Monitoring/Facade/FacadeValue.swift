import CoreMetrics
import NIOConcurrencyHelpers

/// One value that code changes through swift-metrics. Any thread may use it.
final class FacadeValue: CounterHandler, MeterHandler, RecorderHandler, TimerHandler, Sendable {
    private struct State {
        var number = 0.0
        var counts: [UInt64]
    }

    let kind: MetricFamily.Kind
    private let labels: [(String, String)]
    private let bounds: [Double]
    private let state: NIOLockedValueBox<State>

    init(kind: MetricFamily.Kind, labels: [(String, String)], bounds: [Double]) {
        self.kind = kind
        self.labels = labels
        self.bounds = bounds
        state = NIOLockedValueBox(State(counts: Array(repeating: 0, count: bounds.count + 1)))
    }

    var sample: MetricSample {
        let state = state.withLockedValue { $0 }
        let value: MetricValue =
            switch kind {
            case .counter: .count(UInt64(exactly: state.number) ?? .max)
            case .gauge: .number(state.number)
            case .histogram: .histogram(DurationHistogram(bounds: bounds, counts: state.counts, sum: state.number))
            }
        return MetricSample(labels: labels, value: value)
    }

    func increment(by amount: Int64) { increment(by: Double(amount)) }
    func increment(by amount: Double) {
        state.withLockedValue { $0.number += max(amount, kind == .gauge ? amount : 0) }
    }
    func decrement(by amount: Double) { increment(by: -amount) }
    func reset() { state.withLockedValue { $0.number = 0 } }
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { state.withLockedValue { $0.number = value } }
    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }

    func recordNanoseconds(_ duration: Int64) {
        let seconds = Double(max(duration, 0)) / 1e9
        let place = bounds.firstIndex { seconds <= $0 } ?? bounds.count
        state.withLockedValue { state in
            state.counts[place] &+= 1
            state.number += seconds
        }
    }
}
