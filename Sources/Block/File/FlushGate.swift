import Dispatch
import NIOConcurrencyHelpers

/// Runs one attempt at a time to make an image durable, and fails all attempts once one has failed.
///
/// Linux reports a write-back error once per open file, and drops the pages that it could not write (`fsync(2)`,
/// ERRORS). Two attempts at once on one descriptor would share that report: one fails, and the other succeeds without
/// its data.
///
/// 1. `begin` starts an attempt, or queues it behind the one that runs.
/// 2. `end` records the result. After a success, the first in the queue runs one attempt for all of the queue. After a
///    failure, every attempt fails until the image is closed.
///
/// Any thread may call; the lock is held for a few instructions.
final class FlushGate: Sendable {
    /// The outcome of asking for an attempt.
    enum Turn: Equatable {
        /// The caller runs the attempt now, and then calls `end`.
        case run
        /// The attempt has ended with 0 or an `errno`.
        case ended(CInt)
    }

    typealias Waiter = @Sendable (Turn) -> Void

    private struct State {
        var isBusy = false
        var error: CInt = 0
        /// Waiters that the running attempt covers.
        var covered: [Waiter] = []
        /// Waiters that came after the running attempt began.
        var line: [Waiter] = []
        var whenFailed: (@Sendable (CInt) -> Void)?
    }

    private let state = NIOLockedValueBox(State())

    /// The `errno` of the attempt that failed; 0 if none has.
    var error: CInt { state.withLockedValue { $0.error } }

    /// Calls `report` once with the `errno` when an attempt fails, on the thread that ends it; immediately if one has
    /// failed.
    func whenFailed(_ report: @escaping @Sendable (CInt) -> Void) {
        let error = state.withLockedValue { state in
            state.whenFailed = report
            return state.error
        }
        if error != 0 { report(error) }
    }

    /// Begins an attempt, or queues it if another runs.
    /// - Returns: the caller's turn; nil if `waiter` is called later, on the thread of another attempt.
    func begin(_ waiter: @autoclosure () -> Waiter) -> Turn? {
        state.withLockedValue { state in
            guard state.error == 0 else { return .ended(state.error) }
            guard state.isBusy else {
                state.isBusy = true
                return .run
            }
            state.line.append(waiter())
            return nil
        }
    }

    /// Ends the running attempt with 0 or an `errno`.
    func end(_ error: CInt) {
        let (ended, next, report) = state.withLockedValue { state in
            precondition(state.isBusy, "no attempt runs")
            var ended = state.covered
            state.covered = []
            guard error == 0 else {
                ended += state.line
                state.line = []
                state.isBusy = false
                state.error = error
                return (ended, nil as Waiter?, state.whenFailed)
            }
            guard let next = state.line.first else {
                state.isBusy = false
                return (ended, nil, nil)
            }
            state.covered = Array(state.line.dropFirst())
            state.line = []
            return (ended, next, nil)
        }
        report?(error)
        for waiter in ended { waiter(.ended(error)) }
        next?(.run)
    }

    /// Runs `attempt`, or waits for one that covers the caller. Blocks the thread.
    /// - Parameter attempt: makes the image durable; returns 0 or an `errno`.
    /// - Returns: 0 or an `errno`.
    func perform(_ attempt: () -> CInt) -> CInt {
        let told = NIOLockedValueBox(Turn.run)
        let isTold = DispatchSemaphore(value: 0)
        var turn = begin { turn in
            told.withLockedValue { $0 = turn }
            isTold.signal()
        }
        if turn == nil {
            isTold.wait()
            turn = told.withLockedValue { $0 }
        }
        guard case .run? = turn else {
            guard case .ended(let error)? = turn else { preconditionFailure("a turn runs or has ended") }
            return error
        }
        let error = attempt()
        end(error)
        return error
    }
}
