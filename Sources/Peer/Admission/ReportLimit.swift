import NIOConcurrencyHelpers

/// Limits the log lines that strangers can cause to one in each interval. Used from any thread.
final class ReportLimit: Sendable {
    private let interval: Duration
    private let next: NIOLockedValueBox<ContinuousClock.Instant>

    init(interval: Duration) {
        self.interval = interval
        next = NIOLockedValueBox(.now)
    }

    /// Returns true at most once in each interval.
    func isTime() -> Bool {
        next.withLockedValue { next in
            let now = ContinuousClock.now
            guard now >= next else { return false }
            next = now + interval
            return true
        }
    }
}
