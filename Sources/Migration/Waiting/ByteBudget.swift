import NIOConcurrencyHelpers

/// Bytes of memory that several links share. A request for more than is left waits in line, so that many small requests can't
/// keep out a large one.
final class ByteBudget: Sendable {
    private struct Waiter {
        let number: UInt64
        let taker: BudgetTaker
        let count: Int
        let continuation: CheckedContinuation<Bool, any Error>
    }

    private struct State {
        var used = 0
        /// The longest waiting first.
        var line: [Waiter] = []
        var nextNumber: UInt64 = 0

        /// Takes bytes for the waiters at the head of the line, as far as they are left, and returns these waiters.
        mutating func serve(upTo limit: Int) -> [Waiter] {
            var served: [Waiter] = []
            for waiter in line {
                guard waiter.count <= limit - used else { break }
                used += waiter.count
                served.append(waiter)
            }
            line.removeFirst(served.count)
            return served
        }
    }

    private let limit: Int
    private let state = NIOLockedValueBox(State())

    /// - Parameter limit: bytes.
    init(_ limit: Int) {
        self.limit = limit
    }

    /// Bytes that are in use now.
    var taken: Int { state.withLockedValue { $0.used } }

    /// The number of waiters.
    var waiting: Int { state.withLockedValue { $0.line.count } }

    /// Takes bytes, if they are left and nothing waits for some.
    func acquire(_ count: Int) -> Bool {
        state.withLockedValue { state in
            guard state.line.isEmpty, count <= limit - state.used else { return false }
            state.used += count
            return true
        }
    }

    /// Takes bytes, and waits until they are left and nothing has waited longer.
    /// - Parameter count: at most the limit.
    /// - Returns: false once the taker is closed; nothing is taken then.
    /// - Throws: `CancellationError`.
    func acquire(_ count: Int, for taker: BudgetTaker) async throws -> Bool {
        precondition(count <= limit, "nobody behind it would ever get anything")
        if !taker.isClosed, acquire(count) { return true }
        let number = state.withLockedValue { state in
            state.nextNumber += 1
            return state.nextNumber
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                join(Waiter(number: number, taker: taker, count: count, continuation: continuation))
            }
        } onCancel: {
            for waiter in remove(where: { $0.number == number }) {
                waiter.continuation.resume(throwing: CancellationError())
            }
        }
    }

    func giveBack(_ count: Int) {
        let served = state.withLockedValue { state in
            state.used -= count
            return state.serve(upTo: limit)
        }
        for waiter in served { waiter.continuation.resume(returning: true) }
    }

    /// Ends the waiting of a taker that is closed.
    func dismiss(_ taker: BudgetTaker) {
        for waiter in remove(where: { $0.taker === taker }) { waiter.continuation.resume(returning: false) }
    }

    private func join(_ waiter: Waiter) {
        // Both are looked at with the lock held: a later close or cancellation finds the waiter in the line.
        let (served, isClosed, isCancelled) = state.withLockedValue { state -> ([Waiter], Bool, Bool) in
            if waiter.taker.isClosed { return ([], true, false) }
            if Task.isCancelled { return ([], false, true) }
            state.line.append(waiter)
            return (state.serve(upTo: limit), false, false)
        }
        if isClosed { waiter.continuation.resume(returning: false) }
        if isCancelled { waiter.continuation.resume(throwing: CancellationError()) }
        for waiter in served { waiter.continuation.resume(returning: true) }
    }

    /// Takes waiters out of the line, and lets those behind them go on that have room now.
    private func remove(where leaves: (Waiter) -> Bool) -> [Waiter] {
        let (leaving, served) = state.withLockedValue { state in
            let leaving = state.line.filter(leaves)
            state.line.removeAll(where: leaves)
            return (leaving, state.serve(upTo: limit))
        }
        for waiter in served { waiter.continuation.resume(returning: true) }
        return leaving
    }
}
