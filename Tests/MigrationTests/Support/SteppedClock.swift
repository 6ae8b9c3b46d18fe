import NIOConcurrencyHelpers

/// A clock that stands still unless a test moves it.
final class SteppedClock: Sendable {
    private let instant = NIOLockedValueBox(ContinuousClock.now)

    var now: ContinuousClock.Instant { instant.withLockedValue { $0 } }

    func advance(_ duration: Duration) { instant.withLockedValue { $0 += duration } }
}
