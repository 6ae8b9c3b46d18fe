import Synchronization

/// One limit for everything that is sent for a migration; may be changed while it runs.
///
/// A virtual clock: each send moves the moment at which the link is free again. A sender may be ahead of it by
/// `burst`, so that short pauses of the sender are not lost.
public final class RateLimit: Sendable {
    private struct State {
        var bytesPerSecond: Double?
        var freeAt: ContinuousClock.Instant
    }

    private static let burst = Duration.milliseconds(20)
    private let state: Mutex<State>

    /// - Parameter bitsPerSecond: more than 0; nil for no limit.
    public init(bitsPerSecond: UInt64?) {
        state = Mutex(State(bytesPerSecond: bitsPerSecond.map { Double($0) / 8 }, freeAt: .now))
    }

    /// Replaces the limit; what is sent from now on keeps to it.
    public func set(bitsPerSecond: UInt64?) {
        state.withLock { $0.bytesPerSecond = bitsPerSecond.map { Double($0) / 8 } }
    }

    /// The limit now, in bits a second; nil for none.
    public var bitsPerSecond: UInt64? {
        state.withLock { $0.bytesPerSecond.map { UInt64($0 * 8) } }
    }

    /// Waits until `count` bytes may be sent.
    /// - Throws: `CancellationError`.
    public func wait(for count: Int) async throws {
        let start = state.withLock { state -> ContinuousClock.Instant? in
            guard let rate = state.bytesPerSecond else { return nil }
            let begin = max(state.freeAt, ContinuousClock.now - Self.burst)
            state.freeAt = begin + .seconds(Double(count) / rate)
            return begin
        }
        if let start, start > .now { try await ContinuousClock().sleep(until: start) }
    }
}
