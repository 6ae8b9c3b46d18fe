import CoreMetrics
import Testing

@testable import Monitoring

@Suite("swift-metrics' backend")
struct FacadeRegistryTests {
    private let registry = FacadeRegistry([
        FacadeMetric("a_total", "As."), FacadeMetric("b_seconds", "Bs.", bounds: [0.001, 1]), FacadeMetric("c", "Cs."),
    ])

    private var text: String { String(decoding: PrometheusText(registry.families).bytes, as: UTF8.self) }

    @Test("Counters of one name and labels -> one value; others -> one each")
    func counters() {
        for amount in [1, 2] {
            Counter(label: "a_total", dimensions: [("x", "1")], factory: registry).increment(by: amount)
        }
        Counter(label: "a_total", dimensions: [("x", "0")], factory: registry).increment()
        #expect(text.hasSuffix("a_total{x=\"0\"} 1\na_total{x=\"1\"} 3\n"))
    }

    @Test("Durations -> classes in seconds")
    func timers() {
        let timer = Timer(label: "b_seconds", factory: registry)
        timer.recordNanoseconds(1_000_000)
        timer.recordSeconds(2)
        timer.recordNanoseconds(-5)
        #expect(text.contains("b_seconds_bucket{le=\"0.001\"} 2\n"))
        #expect(text.contains("b_seconds_bucket{le=\"+Inf\"} 3\nb_seconds_sum 2.001\n"))
    }

    @Test("Gauges -> the last value")
    func gauges() {
        let gauge = Gauge(label: "c", factory: registry)
        gauge.record(5)
        gauge.record(-2.5)
        #expect(text.hasSuffix("c -2.5\n"))
    }

    @Test("A name that nobody has announced -> not kept")
    func unknown() {
        for number in 0..<1000 { Counter(label: "d\(number)_total", factory: registry).increment() }
        #expect(text == "")
    }
}
