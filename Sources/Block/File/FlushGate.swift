import Dispatch
import NIOConcurrencyHelpers

/// Lets one attempt at a time make an image durable, and fails all attempts once one has failed.
///
/// Linux reports a write-back error once per open file, and drops the pages that it could not write (`fsync(2)`, ERRORS).
/// Two attempts at once on one descriptor would share that report: one fails, and the other succeeds without its data.
/// 1. `begin` starts an attempt, or lines up behind the one that runs. 2. `end` takes in how it went. After a success the
/// first in line runs one attempt for all of the line; after a failure every attempt fails, for as long as the image is open.
///
/// Any thread may call; the lock is held for a few instructions.
final class FlushGate: Sendable {
    /// The answer to an attempt.
    enum Turn: Equatable {
        /// It runs now, and calls `end`.
        case run
        /// It has ended: 0, or an `errno`.
        case ended(CInt)
    }

    typealias Waiter = @Sendable (Turn) -> Void

    private struct State {
        var isBusy = false
        var error: CInt = 0
        /// Those for which the running attempt runs, too.
        var covered: [Waiter] = []
        /// Those that came after it began.
        var line: [Waiter] = []
        var whenFailed: (@Sendable (CInt) -> Void)?
    }

    private let state = NIOLockedValueBox(State())

    /// The `errno` of the attempt that failed; 0 where none has.
    var error: CInt { state.withLockedValue { $0.error } }

    /// Has `report` called with the `errno`, once, when an attempt fails, on the thread that ends it; at once if one has.
    func whenFailed(_ report: @escaping @Sendable (CInt) -> Void) {
        let error = state.withLockedValue { state in
            state.whenFailed = report
            return state.error
        }
        if error != 0 { report(error) }
    }

    /// Begins an attempt that lines up where another runs.
    /// - Returns: the turn of the caller; nil where `waiter` is told later, on the thread of another attempt.
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

    /// The attempt that runs has ended, with 0 or an `errno`.
    func end(_ error: CInt) {
        let (ended, next, report) = state.withLockedValue { state in
            precondition(state.isBusy, "an attempt ends once")
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
    /// - Parameter attempt: returns 0 or an `errno`.
    /// - Returns: likewise.
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
            guard case .ended(let error)? = turn else { preconditionFailure("a turn is one of two") }
            return error
        }
        let error = attempt()
        end(error)
        return error
    }
}
