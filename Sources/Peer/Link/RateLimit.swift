import NIOConcurrencyHelpers

/// One limit for everything that a migration sends; it may change while the migration runs. Used from any thread.
///
/// A virtual clock: each send moves the moment at which the link is free again. A sender that was late by up to `burst`
/// catches up, so that its short pauses are not lost.
public final class RateLimit: Sendable {
    private struct State {
        /// Nil or 0 for no limit.
        var bitsPerSecond: UInt64?
        var freeAt: ContinuousClock.Instant
    }

    private static let burst = Duration.milliseconds(20)
    private static let slice = Duration.milliseconds(100)
    private let state: NIOLockedValueBox<State>

    /// - Parameter bitsPerSecond: more than 0; nil for no limit.
    public init(bitsPerSecond: UInt64?) {
        state = NIOLockedValueBox(State(bitsPerSecond: bitsPerSecond, freeAt: .now))
    }

    /// Replaces the limit, in bits a second; nil for none. It holds for everything that is sent from now on.
    public func set(bitsPerSecond: UInt64?) {
        state.withLockedValue { state in
            state.bitsPerSecond = bitsPerSecond
            state.freeAt = min(state.freeAt, .now)
        }
    }

    /// The limit now, in bits a second; nil for none.
    public var bitsPerSecond: UInt64? {
        state.withLockedValue { $0.bitsPerSecond }
    }

    /// Waits until the link has room, and takes it for `count` bytes. A new limit counts
    /// within `slice`.
    /// - Parameter isWanted: asked at least every `slice`; the wait ends early if it returns false.
    /// - Throws: `CancellationError` if the task is cancelled or `isWanted` returns false.
    public func wait(for count: Int, while isWanted: () -> Bool) async throws {
        while let delay = take(count) {
            try await Task.sleep(for: min(delay, Self.slice))
            guard isWanted() else { throw CancellationError() }
        }
    }

    /// Takes the room for `count` bytes, if there is any.
    /// - Returns: nil if the room was taken, otherwise the time until there is some.
    private func take(_ count: Int) -> Duration? {
        state.withLockedValue { state in
            guard let bits = state.bitsPerSecond, bits > 0 else { return nil }
            let now = ContinuousClock.now
            guard state.freeAt <= now else { return now.duration(to: state.freeAt) }
            state.freeAt = max(state.freeAt, now - Self.burst) + .seconds(Double(count) * 8 / Double(bits))
            return nil
        }
    }
}
