/// Counts failed requests by kind and limits how often the log reports them. The first failure of a kind is reported
/// at once, further ones at most once an interval with their number.
///
/// 1. `record` each failure.
/// 2. At `nextReport`, call `overdue` for the reports that have waited.
struct FailureCounts {
    /// A line for the log.
    struct Report: Equatable {
        let failure: RequestFailure
        /// Failures of this kind since the last report, this one included.
        let count: UInt64
        /// Whether this is the first failure of its kind.
        let isFirst: Bool
    }

    private struct Entry {
        var total: UInt64 = 0
        var reported: UInt64 = 0
        var mayReportAt: ContinuousClock.Instant
    }

    static let interval = Duration.seconds(60)

    private var entries: [RequestFailure: Entry] = [:]

    /// Failures of each kind since the start.
    var totals: [RequestFailure: UInt64] { entries.mapValues(\.total) }

    /// The time of the next report if nothing more fails; nil if all failures are reported.
    var nextReport: ContinuousClock.Instant? {
        entries.values.filter { $0.total > $0.reported }.map(\.mayReportAt).min()
    }

    /// Counts a failed request.
    /// - Returns: the report to log now; nil if it has to wait.
    mutating func record(_ failure: RequestFailure, at now: ContinuousClock.Instant) -> Report? {
        let isFirst = entries[failure] == nil
        entries[failure, default: Entry(mayReportAt: now)].total += 1
        return report(failure, isFirst: isFirst, at: now)
    }

    /// Returns the reports that have waited long enough.
    mutating func overdue(at now: ContinuousClock.Instant) -> [Report] {
        entries.keys.compactMap { report($0, isFirst: false, at: now) }
    }

    private mutating func report(_ failure: RequestFailure, isFirst: Bool, at now: ContinuousClock.Instant) -> Report? {
        guard var entry = entries[failure], entry.total > entry.reported, now >= entry.mayReportAt else { return nil }
        defer { entries[failure] = entry }
        let count = entry.total - entry.reported
        entry.reported = entry.total
        entry.mayReportAt = now + Self.interval
        return Report(failure: failure, count: count, isFirst: isFirst)
    }
}
