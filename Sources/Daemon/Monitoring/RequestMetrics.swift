import BlockModel
import Monitoring
import NBDServer

/// The metrics of clients' requests, by export and command.
struct RequestMetrics {
    private static let bounds = (0..<LatencyBuckets.bounds).map(LatencyBuckets.bound)

    private var requests = MetricFamily(
        "nearblock_requests_total", .counter, "Requests of NBD clients that have ended.")
    private var bytes = MetricFamily(
        "nearblock_request_bytes_total", .counter, "Bytes of the ranges of requests that succeeded.")
    private var errors = MetricFamily(
        "nearblock_request_errors_total", .counter, "Requests that were answered with an error.")
    private var durations = MetricFamily(
        "nearblock_request_duration_seconds", .histogram,
        "Time from a whole request to its queued reply.")

    /// Sums what the loops have counted; leaves out commands that an export has never had.
    init(_ book: TallyBook) {
        for (export, tallies) in book.all {
            for command in RequestTallies.commands { add(export, command, tallies.totals(of: command)) }
        }
    }

    private mutating func add(_ export: String, _ command: RequestKind, _ totals: RequestTotals) {
        // Reads and writes are always there, so that rates begin with 0.
        guard totals.requests > 0 || command.carriesData else { return }
        let labels: KeyValuePairs = ["export": export, "command": Self.name(of: command)]
        requests.add(labels, .count(totals.requests))
        bytes.add(labels, .count(totals.bytes))
        errors.add(labels, .count(totals.errors))
        durations.add(
            labels,
            .histogram(
                DurationHistogram(
                    bounds: Self.bounds, counts: totals.buckets, sum: Double(totals.nanoseconds) / 1e9)))
    }

    var families: [MetricFamily] { [requests, bytes, errors, durations] }

    private static func name(of command: RequestKind) -> String {
        switch command {
        case .read: "read"
        case .write: "write"
        case .flush: "flush"
        case .trim: "trim"
        case .writeZeroes: "write_zeroes"
        case .cache: "cache"
        case .status: "block_status"
        }
    }
}
