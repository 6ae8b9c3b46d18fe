import Block
import BlockModel
import NIOConcurrencyHelpers

/// Counts and logs the requests for an export that its device has failed. Only a failure takes the lock.
public final class RequestFailures: Sendable {
    private struct State {
        var counts = FailureCounts()
        var awaitsReport = false
    }

    private let state = NIOLockedValueBox(State())
    private let report: @Sendable (String) -> Void

    /// Creates a count of 0.
    /// - Parameter report: called on any thread with a line for the log, limited by `FailureCounts`.
    public init(report: @escaping @Sendable (String) -> Void) {
        self.report = report
    }

    /// Failures of each kind since the start.
    public var totals: [RequestFailure: UInt64] { state.withLockedValue { $0.counts.totals } }

    /// Counts and logs a request that the device has ended with an error. Any thread may call.
    func record(_ kind: RequestKind, error: CInt, mustBeFast: Bool, offset: UInt64, length: UInt64) {
        guard let failure = RequestFailure(kind: kind, error: error, mustBeFast: mustBeFast) else { return }
        let (now, next) = state.withLockedValue { state in
            let now = state.counts.record(failure, at: .now)
            let next = state.awaitsReport ? nil : state.counts.nextReport
            if next != nil { state.awaitsReport = true }
            return (now, next)
        }
        if let now { report(Self.line(now, "\(failure.request) of \(length) bytes at \(offset)")) }
        if let next { reportLater(next) }
    }

    /// Logs failures that came too soon after a report, even if no further failure follows.
    private func reportLater(_ time: ContinuousClock.Instant) {
        Task { [weak self] in
            try? await Task.sleep(until: time, clock: .continuous)
            self?.reportOverdue()
        }
    }

    private func reportOverdue() {
        let (reports, next) = state.withLockedValue { state in
            let reports = state.counts.overdue(at: .now)
            let next = state.counts.nextReport
            state.awaitsReport = next != nil
            return (reports, next)
        }
        for each in reports { report(Self.line(each, "")) }
        if let next { reportLater(next) }
    }

    private static func line(_ report: FailureCounts.Report, _ request: String) -> String {
        let error = report.failure.errorName
        if report.isFirst { return "\(request) failed: \(error); further ones are logged once a minute" }
        return "\(report.count) more of its \(report.failure.request) requests failed: \(error)"
    }
}
