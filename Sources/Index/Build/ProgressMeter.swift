import NIOConcurrencyHelpers

/// Turns the positions of several threads into reports that only grow, about 200 in all.
final class ProgressMeter: Sendable {
    private let total: UInt64
    private let report: @Sendable (BuildProgress) -> Void
    private let last = NIOLockedValueBox<UInt64>(0)

    init(total: UInt64, report: @escaping @Sendable (BuildProgress) -> Void) {
        self.total = total
        self.report = report
    }

    func reach(_ position: UInt64) {
        last.withLockedValue { last in
            guard position > last, position - last >= total / 200 || position == total else { return }
            last = position
            // Report under the lock, or two reports could overtake each other.
            report(BuildProgress(done: position, total: total))
        }
    }
}
