import NIOConcurrencyHelpers
import Synchronization

/// Detects that a lost connection may have cost writes that were acknowledged and never flushed.
///
/// A server that has restarted may have lost them, and reconnecting must not hide that (`LossCount`). Any thread may
/// use it.
final class NBDClientDurability: Sendable {
    private struct State {
        var acknowledged: UInt64 = 0
        var flushed: UInt64 = 0
        var isStrict = false
    }

    private let losses: LossCount
    private let state = NIOLockedValueBox(State())
    private let refusal = Synchronization.Atomic(false)
    private let forcing = Synchronization.Atomic(false)

    /// Creates a state without writes.
    /// - Parameter losses: counts the losses.
    init(losses: LossCount) {
        self.losses = losses
    }

    /// Whether every command must fail: something was lost while `setStrict` was on. Costs no lock.
    var refuses: Bool { refusal.load(ordering: .acquiring) }

    /// Whether each change is to be durable before it is acknowledged, so that the end of a server loses none. Costs no lock.
    var forcesChanges: Bool { forcing.load(ordering: .acquiring) }

    /// Sets whether changes must not be lost: each is forced, and every command fails after a loss that came about all the same.
    /// Turning it off lets commands succeed again.
    func setStrict(_ isStrict: Bool) {
        state.withLockedValue { $0.isStrict = isStrict }
        forcing.store(isStrict, ordering: .releasing)
        if !isStrict { refusal.store(false, ordering: .releasing) }
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
        let (isLost, isStrict) = state.withLockedValue { state in
            defer { state.flushed = state.acknowledged }
            return (state.acknowledged > state.flushed, state.isStrict)
        }
        guard isLost else { return }
        if isStrict { refusal.store(true, ordering: .releasing) }
        losses.increment()
    }
}
