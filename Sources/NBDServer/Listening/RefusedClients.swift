import NIOConcurrencyHelpers

/// The clients that an export has refused because it has as many as it may have. Only a refusal takes the lock.
public final class RefusedClients: Sendable {
    private struct State {
        /// Since the last report.
        var count: UInt64 = 0
        var next: ContinuousClock.Instant?
    }

    private static let interval = Duration.seconds(60)

    private let state = NIOLockedValueBox(State())
    private let report: @Sendable (_ count: UInt64) -> Void

    /// - Parameter report: called, on any thread and at most once a minute, with how many have been refused since the last
    ///   time.
    public init(report: @escaping @Sendable (_ count: UInt64) -> Void) {
        self.report = report
    }

    /// Another one has been refused.
    /// - Parameter now: for tests.
    func note(at now: ContinuousClock.Instant = .now) {
        let count = state.withLockedValue { state -> UInt64? in
            state.count &+= 1
            if let next = state.next, now < next { return nil }
            state.next = now + Self.interval
            defer { state.count = 0 }
            return state.count
        }
        if let count { report(count) }
    }
}
