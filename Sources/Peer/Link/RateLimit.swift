import NIOConcurrencyHelpers

/// One limit for everything that a migration sends; it may change while the migration runs. Used from any thread.
///
/// A virtual clock: each send moves the moment at which the link is free again. A sender that was late by up to `burst`
/// catches up, so that its short pauses are not lost. Senders that go ahead have a clock of their own beside the common one, on
/// which they have `aheadShare` of the limit.
public final class RateLimit: Sendable {
    private struct State {
        /// Nil or 0 for no limit.
        var bitsPerSecond: UInt64?
        var freeAt: ContinuousClock.Instant
        var aheadFreeAt: ContinuousClock.Instant
    }

    private static let burst = Duration.milliseconds(20)
    private static let slice = Duration.milliseconds(100)
    /// Three quarters: the others go on.
    private static let aheadShare = 0.75
    private let state: NIOLockedValueBox<State>

    /// - Parameter bitsPerSecond: more than 0; nil for no limit.
    public init(bitsPerSecond: UInt64?) {
        state = NIOLockedValueBox(State(bitsPerSecond: bitsPerSecond, freeAt: .now, aheadFreeAt: .now))
    }

    /// Replaces the limit, in bits a second; nil for none. It holds for everything that is sent from now on.
    public func set(bitsPerSecond: UInt64?) {
        state.withLockedValue { state in
            state.bitsPerSecond = bitsPerSecond
            state.freeAt = min(state.freeAt, .now)
            state.aheadFreeAt = min(state.aheadFreeAt, .now)
        }
    }

    /// The limit now, in bits a second; nil for none.
    public var bitsPerSecond: UInt64? {
        state.withLockedValue { $0.bitsPerSecond }
    }

    /// Waits until the link has room, and takes it for `count` bytes. A new limit counts
    /// within `slice`.
    /// - Parameters:
    ///   - isAhead: somebody waits for these bytes. They do not wait for what others have sent, unless they take more than
    ///     three quarters of the limit.
    ///   - isWanted: asked at least every `slice`; the wait ends early if it returns false.
    /// - Throws: `CancellationError` if the task is cancelled or `isWanted` returns false.
    public func wait(for count: Int, isAhead: Bool = false, while isWanted: () -> Bool) async throws {
        while let delay = take(count, isAhead: isAhead) {
            try await Task.sleep(for: min(delay, Self.slice))
            guard isWanted() else { throw CancellationError() }
        }
    }

    /// Takes the room for `count` bytes, if there is any.
    /// - Returns: nil if the room was taken, otherwise the time until there is some.
    private func take(_ count: Int, isAhead: Bool) -> Duration? {
        state.withLockedValue { state in
            guard let bits = state.bitsPerSecond, bits > 0 else { return nil }
            let now = ContinuousClock.now
            let freeAt = isAhead ? min(state.freeAt, state.aheadFreeAt) : state.freeAt
            guard freeAt <= now else { return now.duration(to: freeAt) }
            let cost = Double(count) * 8 / Double(bits)
            state.freeAt = max(state.freeAt, now - Self.burst) + .seconds(cost)
            if isAhead {
                let shared = max(state.aheadFreeAt, now - Self.burst) + .seconds(cost / Self.aheadShare)
                // Frames that had the link for themselves must not be charged with what others might have used.
                state.aheadFreeAt = min(shared, state.freeAt)
            }
            return nil
        }
    }
}
