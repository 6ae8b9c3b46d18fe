import NIOConcurrencyHelpers

/// Detects that a lost connection may have cost writes that were acknowledged and never flushed.
///
/// A server that has restarted may have lost them, and reconnecting must not hide that (`LossCount`). Any thread may
/// use it.
final class NBDClientDurability: Sendable {
    private struct State {
        var acknowledged: UInt64 = 0
        var flushed: UInt64 = 0
    }

    private let losses: LossCount
    private let state = NIOLockedValueBox(State())

    /// Creates a state without writes.
    /// - Parameter losses: counts the losses.
    init(losses: LossCount) {
        self.losses = losses
    }

    /// Records an acknowledged write that was not forced to be durable.
    func recordWrite() {
        state.withLockedValue { $0.acknowledged += 1 }
    }

    /// Returns a mark of the writes that a flush beginning now will cover.
    func beginFlush() -> UInt64 {
        state.withLockedValue { $0.acknowledged }
    }

    /// Records a successful flush.
    func endFlush(covering count: UInt64) {
        state.withLockedValue { $0.flushed = max($0.flushed, count) }
    }

    /// Counts a loss if writes are unflushed: the server failed to make them durable, or its connection was lost.
    func recordLoss() {
        let isLost = state.withLockedValue { state in
            defer { state.flushed = state.acknowledged }
            return state.acknowledged > state.flushed
        }
        if isLost { losses.increment() }
    }
}
