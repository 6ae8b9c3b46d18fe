import Testing

@testable import Monitoring

@Suite("Prometheus' text format")
struct PrometheusTextTests {
    private func text(_ families: [MetricFamily]) -> String {
        String(decoding: PrometheusText(families).bytes, as: UTF8.self)
    }

    @Test("A family -> its help, its type, and a line for each sample")
    func family() {
        var family = MetricFamily("disk_bytes", .gauge, "Size of the disk.")
        family.add(["export": "a"], .count(.max))
        family.add([:], .number(1.5))
        #expect(
            text([family]) == """
                # HELP disk_bytes Size of the disk.
                # TYPE disk_bytes gauge
                disk_bytes{export="a"} 18446744073709551615
                disk_bytes 1.5

                """)
    }

    @Test("A family without samples -> nothing")
    func empty() { #expect(text([MetricFamily("disk_bytes", .gauge, "None.")]) == "") }

    @Test(
        "Quotes, backslashes and line ends of a label -> escaped; other characters stay",
        arguments: [
            (#"a"b"#, #"a\"b"#), (#"a\b"#, #"a\\b"#), ("a\nb", #"a\nb"#), ("Grüße {x=1}", "Grüße {x=1}"), ("", ""),
        ])
    func labels(_ value: String, _ expected: String) {
        var family = MetricFamily("m", .gauge, "Help\nof \\ two lines.")
        family.add(["export": value], .count(1))
        #expect(text([family]).contains("m{export=\"\(expected)\"} 1\n"))
        #expect(text([family]).hasPrefix("# HELP m Help\\nof \\\\ two lines.\n"))
    }

    @Test("Numbers that are none -> Prometheus' words")
    func numbers() {
        #expect(PrometheusText.text(.nan) == "NaN")
        #expect(PrometheusText.text(.infinity) == "+Inf")
        #expect(PrometheusText.text(-.infinity) == "-Inf")
    }

    @Test("A histogram -> cumulative buckets, their sum and their count")
    func histogram() {
        var family = MetricFamily("wait_seconds", .histogram, "Waits.")
        family.add(["x": "y"], .histogram(DurationHistogram(bounds: [0.5, 1], counts: [2, 0, 3], sum: 9)))
        #expect(
            text([family]) == """
                # HELP wait_seconds Waits.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{x="y",le="0.5"} 2
                wait_seconds_bucket{x="y",le="1.0"} 2
                wait_seconds_bucket{x="y",le="+Inf"} 5
                wait_seconds_sum{x="y"} 9.0
                wait_seconds_count{x="y"} 5

                """)
    }

    @Test("The process -> the names and values that Prometheus knows")
    func process() throws {
        let families = ProcessFigures.families(openDescriptors: 7)
        let values = Dictionary(
            uniqueKeysWithValues: families.compactMap { family -> (String, Double)? in
                switch family.samples.first?.value {
                case .count(let count): (family.name, Double(count))
                case .number(let number): (family.name, number)
                default: nil
                }
            })
        #expect(values.count == 6, "\(values)")
        #expect(values["process_open_fds"] == 7)
        #expect((values["process_resident_memory_bytes"] ?? 0) > 1e6)
        #expect((values["process_virtual_memory_bytes"] ?? 0) > 1e6)
        #expect((values["process_start_time_seconds"] ?? 0) > 1_600_000_000)
        #expect((values["process_max_fds"] ?? 0) >= 64)
    }
}
