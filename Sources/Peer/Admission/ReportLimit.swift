import NIOConcurrencyHelpers

/// Keeps what strangers can cause out of the log but for a line now and then.
final class ReportLimit: Sendable {
    private let interval: Duration
    private let next: NIOLockedValueBox<ContinuousClock.Instant>

    init(interval: Duration) {
        self.interval = interval
        next = NIOLockedValueBox(.now)
    }

    /// Whether the interval has gone by since it last was.
    func isTime() -> Bool {
        next.withLockedValue { next in
            let now = ContinuousClock.now
            guard now >= next else { return false }
            next = now + interval
            return true
        }
    }
}
