/// Writes metrics in Prometheus' text format, version 0.0.4.
public struct PrometheusText: Sendable {
    /// The format's media type.
    public static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    /// The text so far, in UTF-8.
    public private(set) var bytes: [UInt8] = []

    /// Creates an empty text.
    public init() {}

    /// Writes all families that have samples.
    public init(_ families: [MetricFamily]) {
        for family in families { add(family) }
    }

    /// Appends a family, unless it has no sample.
    public mutating func add(_ family: MetricFamily) {
        guard !family.samples.isEmpty else { return }
        append("# HELP \(family.name) \(Self.escaped(family.help, quotes: false))\n")
        append("# TYPE \(family.name) \(family.kind.rawValue)\n")
        for sample in family.samples {
            switch sample.value {
            case .count(let count): addLine(family.name, sample.labels, "\(count)")
            case .number(let number): addLine(family.name, sample.labels, Self.text(number))
            case .histogram(let histogram): add(histogram, family.name, sample.labels)
            }
        }
    }

    private mutating func add(_ histogram: DurationHistogram, _ name: String, _ labels: [(name: String, value: String)])
    {
        var below: UInt64 = 0
        for (index, count) in histogram.counts.enumerated() {
            below &+= count
            let bound = index < histogram.bounds.count ? Self.text(histogram.bounds[index]) : "+Inf"
            addLine("\(name)_bucket", labels + [(name: "le", value: bound)], "\(below)")
        }
        addLine("\(name)_sum", labels, Self.text(histogram.sum))
        addLine("\(name)_count", labels, "\(below)")
    }

    private mutating func addLine(_ name: String, _ labels: [(name: String, value: String)], _ value: String) {
        append(name)
        if !labels.isEmpty {
            let pairs = labels.map { "\($0.name)=\"\(Self.escaped($0.value, quotes: true))\"" }
            append("{\(pairs.joined(separator: ","))}")
        }
        append(" \(value)\n")
    }

    private mutating func append(_ text: String) { bytes += text.utf8 }

    /// Prometheus has its own words for what is no number.
    static func text(_ number: Double) -> String {
        if number.isNaN { return "NaN" }
        if number.isInfinite { return number > 0 ? "+Inf" : "-Inf" }
        return "\(number)"
    }

    /// Escapes what would end a value or a line. Other characters stay: the format is UTF-8.
    static func escaped(_ text: String, quotes: Bool) -> String {
        guard text.utf8.contains(where: { [0x0a, 0x22, 0x5c].contains($0) }) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": escaped += "\\n"
            case "\\": escaped += "\\\\"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
