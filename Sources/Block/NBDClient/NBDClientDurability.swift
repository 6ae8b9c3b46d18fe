import NIOConcurrencyHelpers
import Synchronization

/// Detects that a lost connection may have cost writes that were acknowledged and never flushed.
///
/// A server that has restarted may have lost them, and reconnecting must not hide that (`LossCount`). Each loop notices the end
/// of a server by itself. It may still record what that server has acknowledged when another loop has flushed at its successor:
/// such writes count as lost, too. One server at a time has the disk. Any thread may use it.
final class NBDClientDurability: Sendable {
    /// Those who write, on one connection at a time.
    struct Writer: Sendable {
        fileprivate let index: Int
    }

    private struct State {
        /// The same as `noticed`, for use with the lock.
        var generation: UInt64 = 0
        var acknowledged: UInt64 = 0
        var flushed: UInt64 = 0
        var isStrict = false
        var writers: [WriterState] = []

        /// Settles the unflushed writes of those last heard before `generation`.
        /// - Returns: whether there were any.
        mutating func settleDoubtful(before generation: UInt64) -> Bool {
            var found = false
            for index in writers.indices
            where writers[index].heardIn < generation && writers[index].lastWrite > flushed {
                writers[index].lastWrite = 0
                found = true
            }
            return found
        }
    }

    private struct WriterState {
        /// The newest generation in which a write began that was acknowledged, or in which the connection was made.
        var heardIn: UInt64
        /// The value of `acknowledged` with the last write; 0 if it needs no flush.
        var lastWrite: UInt64 = 0
    }

    private let losses: LossCount
    private let state = NIOLockedValueBox(State())
    private let refusal = Synchronization.Atomic(false)
    private let forcing = Synchronization.Atomic(false)
    private let noticed = Synchronization.Atomic<UInt64>(0)

    /// Creates a state without writes.
    /// - Parameter losses: counts the losses.
    init(losses: LossCount) {
        self.losses = losses
    }

    /// Whether every command must fail: something was lost while `setStrict` was on. Costs no lock.
    var refuses: Bool { refusal.load(ordering: .acquiring) }

    /// Whether each change is to be durable before it is acknowledged, so that the end of a server loses none. Costs no lock.
    var forcesChanges: Bool { forcing.load(ordering: .acquiring) }

    /// How often the end of a server was noticed. If a command that begins in a generation is answered, its server is none of
    /// those that had ended by then. Costs no lock.
    var generation: UInt64 { noticed.load(ordering: .acquiring) }

    /// Sets whether changes must not be lost: each is forced, and every command fails after a loss that came about all the same.
    /// Turning it off lets commands succeed again.
    func setStrict(_ isStrict: Bool) {
        state.withLockedValue { $0.isStrict = isStrict }
        forcing.store(isStrict, ordering: .releasing)
        if !isStrict { refusal.store(false, ordering: .releasing) }
    }

    /// Adds one who writes or flushes.
    func addWriter() -> Writer {
        state.withLockedValue { state in
            state.writers.append(WriterState(heardIn: state.generation))
            return Writer(index: state.writers.count - 1)
        }
    }

    /// Records that the connection of `writer` was made, or made again. Call it before any command on it.
    func recordConnection(of writer: Writer) {
        state.withLockedValue { $0.writers[writer.index].heardIn = $0.generation }
    }

    /// Records an acknowledged write that was not forced to be durable.
    /// - Parameter generation: that in which its command began.
    func recordWrite(by writer: Writer, begunIn generation: UInt64) {
        state.withLockedValue { state in
            state.acknowledged += 1
            let heardIn = max(generation, state.writers[writer.index].heardIn)
            state.writers[writer.index] = WriterState(heardIn: heardIn, lastWrite: state.acknowledged)
        }
    }

    /// Returns a mark of the writes that a flush beginning now will cover.
    func beginFlush() -> UInt64 {
        state.withLockedValue { $0.acknowledged }
    }

    /// Records a successful flush. Counts a loss if an ended server may have acknowledged unflushed writes.
    func endFlush(by writer: Writer, covering mark: UInt64) {
        recordLoss { state in
            defer { state.flushed = max(state.flushed, mark) }
            return state.settleDoubtful(before: state.writers[writer.index].heardIn)
        }
    }

    /// Counts a loss if writes are unflushed: the server failed to make them durable.
    func recordLoss() {
        recordLoss { $0.settleDoubtful(before: .max) }
    }

    /// Counts a loss if writes are unflushed: a connection was lost. One that was not heard since another one was lost counts as
    /// lost with that one's server.
    /// - Parameter generation: the newest one in which a command began that was answered on it, or in which it was made.
    func recordLostConnection(heardIn generation: UInt64) {
        recordLoss { state in
            if generation == state.generation {
                state.generation += 1
                noticed.store(state.generation, ordering: .releasing)
            }
            return state.settleDoubtful(before: state.generation)
        }
    }

    /// - Parameter settle: returns whether writes may be lost.
    private func recordLoss(_ settle: (inout State) -> Bool) {
        let (isLost, isStrict) = state.withLockedValue { (settle(&$0), $0.isStrict) }
        guard isLost else { return }
        if isStrict { refusal.store(true, ordering: .releasing) }
        losses.increment()
    }
}
