import NIOConcurrencyHelpers

/// Counts the clients that an export has refused because it had its maximum of connections. Only a refusal takes the
/// lock.
public final class RefusedClients: Sendable {
    private struct State {
        /// Refusals since the last report.
        var count: UInt64 = 0
        var next: ContinuousClock.Instant?
    }

    private static let interval = Duration.seconds(60)

    private let state = NIOLockedValueBox(State())
    private let report: @Sendable (_ count: UInt64, _ last: ClientAddress) -> Void

    /// Creates a count of 0.
    /// - Parameter report: called on any thread, at most once a minute. It gets the number of refusals since the last
    ///   call, and the client that was refused last.
    public init(report: @escaping @Sendable (_ count: UInt64, _ last: ClientAddress) -> Void) {
        self.report = report
    }

    /// Counts a refusal.
    /// - Parameter now: the current time; tests pass their own.
    func record(_ client: ClientAddress, at now: ContinuousClock.Instant = .now) {
        let count = state.withLockedValue { state -> UInt64? in
            state.count &+= 1
            if let next = state.next, now < next { return nil }
            state.next = now + Self.interval
            defer { state.count = 0 }
            return state.count
        }
        if let count { report(count, client) }
    }
}
