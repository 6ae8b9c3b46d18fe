import NIOConcurrencyHelpers
import Synchronization

/// Detects that the end of a server may have cost writes that were acknowledged and never flushed.
///
/// A server that has restarted may have lost them, and reconnecting must not hide that (`LossCount`). Each loop hears the end by
/// itself. One that is late may record what the old server has acknowledged when another one has flushed at its successor. Such a
/// write counts as lost at once. Any thread may use it.
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
    /// Grows only with the lock.
    private let ends = Synchronization.Atomic<UInt64>(0)
    /// Whether `recordEnd` is called for each end of the server, so that a lost connection alone costs nothing.
    private let knowsEnds: Bool

    /// Creates a state without writes.
    /// - Parameters:
    ///   - losses: counts the losses.
    ///   - server: tells its ends; nil if nobody does, so that each lost connection counts as one.
    init(losses: LossCount, server: (any DiskServer)? = nil) {
        self.losses = losses
        knowsEnds = server != nil
        server?.whenEnded { [weak self] in self?.recordEnd() }
    }

    /// Whether every command must fail: something was lost while `setStrict` was on. Costs no lock.
    var refuses: Bool { refusal.load(ordering: .acquiring) }

    /// Whether each change is to be durable before it is acknowledged, so that the end of a server loses none. Costs no lock.
    var forcesChanges: Bool { forcing.load(ordering: .acquiring) }

    /// The number of ends so far. Read it before each command that changes the disk. Costs no lock.
    var generation: UInt64 { ends.load(ordering: .acquiring) }

    /// Sets whether changes must not be lost: each is forced, and every command fails after a loss that came about all the same.
    /// Turning it off lets commands succeed again.
    func setStrict(_ isStrict: Bool) {
        state.withLockedValue { state in
            state.isStrict = isStrict
            forcing.store(isStrict, ordering: .releasing)
            if !isStrict { refusal.store(false, ordering: .releasing) }
        }
    }

    /// Records an acknowledged write that was not forced to be durable. Counts a loss if the server may have ended since.
    /// - Parameter generation: that of the time before its command began.
    func recordWrite(begunIn generation: UInt64) {
        state.withLockedValue { state in
            guard generation == self.generation else { return count(state) }
            state.acknowledged += 1
        }
    }

    /// Returns a mark of the writes that a flush beginning now will cover.
    func beginFlush() -> UInt64 {
        state.withLockedValue { $0.acknowledged }
    }

    /// Records a successful flush.
    func endFlush(covering count: UInt64) {
        state.withLockedValue { $0.flushed = max($0.flushed, count) }
    }

    /// Counts a loss if writes are unflushed: the server failed to make them durable.
    func recordLoss() {
        state.withLockedValue { settle(&$0) }
    }

    /// Counts a loss if writes are unflushed and the server may have ended: a connection to it was lost.
    func recordLostConnection() {
        if !knowsEnds { recordEnd() }
    }

    /// Counts a loss if writes are unflushed: the server has ended. Call it before a connection to its successor is used.
    func recordEnd() {
        state.withLockedValue { state in
            ends.add(1, ordering: .acquiringAndReleasing)
            settle(&state)
        }
    }

    private func settle(_ state: inout State) {
        guard state.acknowledged > state.flushed else { return }
        state.flushed = state.acknowledged
        count(state)
    }

    /// Counts a loss. With the lock: nobody may hear of a successful flush before.
    private func count(_ state: State) {
        if state.isStrict { refusal.store(true, ordering: .releasing) }
        losses.increment()
    }
}
