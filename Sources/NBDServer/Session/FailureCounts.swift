/// Counts failed requests, and says when the log is to hear of them: of the first of a kind at once, then at most once an
/// interval, with how many there were.
///
/// 1. `note` each. 2. At `nextReport`, take the `overdue` reports.
struct FailureCounts {
    /// What the log is to say.
    struct Report: Equatable {
        let failure: RequestFailure
        /// Failures of this kind since the last report, this one included.
        let count: UInt64
        /// The first of this kind is reported by itself.
        let isFirst: Bool
    }

    private struct Entry {
        var total: UInt64 = 0
        var reported: UInt64 = 0
        var mayReportAt: ContinuousClock.Instant
    }

    static let interval = Duration.seconds(60)

    private var entries: [RequestFailure: Entry] = [:]

    /// Kinds that there were, and how often.
    var totals: [RequestFailure: UInt64] { entries.mapValues(\.total) }

    /// When there will be something to report, if nothing more fails; nil where all has been reported.
    var nextReport: ContinuousClock.Instant? {
        entries.values.filter { $0.total > $0.reported }.map(\.mayReportAt).min()
    }

    /// A request has failed.
    /// - Returns: what the log is to say now; nil where it must wait.
    mutating func note(_ failure: RequestFailure, at now: ContinuousClock.Instant) -> Report? {
        let isFirst = entries[failure] == nil
        entries[failure, default: Entry(mayReportAt: now)].total += 1
        return report(failure, isFirst: isFirst, at: now)
    }

    /// What has waited long enough.
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
