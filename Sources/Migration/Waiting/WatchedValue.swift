import NIOConcurrencyHelpers

/// A value behind a lock, whose changes wake the tasks that wait for them. Any thread may use it.
///
/// A condition is looked at where the wait begins and after each change, always with the lock held, so that no change is
/// missed. Tasks go on without the lock. What holds the lock must be quick, and must neither use this value nor cancel a task
/// that waits for it.
package final class WatchedValue<Value: Sendable>: Sendable {
    package typealias Condition = @Sendable (Value) -> Bool

    private struct Waiter {
        let number: UInt64
        let condition: Condition
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var value: Value
        /// The longest waiting first.
        var waiters: [Waiter] = []
        /// Waits that have begun and are not among the waiters yet; one that ends before it is there leaves them.
        var beginning: Set<UInt64> = []
        var nextNumber: UInt64 = 0
    }

    private let state: NIOLockedValueBox<State>

    /// - Parameter value: at first.
    package init(_ value: Value) {
        state = NIOLockedValueBox(State(value: value))
    }

    /// The number of tasks that wait.
    var waiting: Int { state.withLockedValue { $0.waiters.count } }

    /// Looks at the value or changes it, and wakes the tasks whose conditions it meets then.
    /// - Throws: the error of `body`; its changes stay.
    package func withLockedValue<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        var met: [Waiter] = []
        defer { for waiter in met { waiter.continuation.resume(returning: true) } }
        return try state.withLockedValue { state in
            defer { if !state.waiters.isEmpty { met = Self.takeMet(&state.waiters, state.value) } }
            return try body(&state.value)
        }
    }

    /// Looks at all conditions again: something else has changed that some of them look at.
    package func recheck() { withLockedValue { _ in } }

    private static func takeMet(_ waiters: inout [Waiter], _ value: Value) -> [Waiter] {
        var met: [Waiter] = []
        waiters.removeAll { waiter in
            guard waiter.condition(value) else { return false }
            met.append(waiter)
            return true
        }
        return met
    }

    // MARK: Waiting

    /// Waits until the value has met a condition, however long that takes: a cancelled task waits too. Another change may
    /// have followed by the time of the return.
    package func wait(until condition: @escaping Condition) async {
        guard let number = begin(condition) else { return }
        _ = await join(number, condition)
    }

    /// Waits until the value has met a condition. Another change may have followed by the time of the return.
    /// - Throws: `CancellationError` where the task is cancelled before that.
    package func waitUnlessCancelled(until condition: @escaping Condition) async throws {
        guard let number = begin(condition) else { return }
        let isMet = await withTaskCancellationHandler {
            await join(number, condition)
        } onCancel: {
            end(number)
        }
        guard isMet else { throw CancellationError() }
    }

    /// Waits until the value has met a condition, the time is over, or the task is cancelled.
    /// - Returns: whether the condition was met.
    @discardableResult
    package func wait(until condition: @escaping Condition, atMost limit: Duration) async -> Bool {
        guard let number = begin(condition) else { return true }
        let timer = Task {
            try await Task.sleep(for: limit)
            end(number)
        }
        defer { timer.cancel() }
        return await withTaskCancellationHandler {
            await join(number, condition)
        } onCancel: {
            end(number)
        }
    }

    /// - Returns: a number for `join` and `end`; nil where the value meets the condition already.
    private func begin(_ condition: Condition) -> UInt64? {
        state.withLockedValue { state in
            guard !condition(state.value) else { return nil }
            defer { state.nextNumber += 1 }
            state.beginning.insert(state.nextNumber)
            return state.nextNumber
        }
    }

    /// - Returns: whether the condition was met, and not `end` called before.
    private func join(_ number: UInt64, _ condition: @escaping Condition) async -> Bool {
        await withCheckedContinuation { continuation in
            let isMet = state.withLockedValue { state -> Bool? in
                let hasEnded = state.beginning.remove(number) == nil
                if condition(state.value) { return true }
                guard !hasEnded else { return false }
                state.waiters.append(Waiter(number: number, condition: condition, continuation: continuation))
                return nil
            }
            if let isMet { continuation.resume(returning: isMet) }
        }
    }

    /// Ends a wait, which may not have joined the waiters yet, or have left them.
    private func end(_ number: UInt64) {
        let waiter = state.withLockedValue { state -> Waiter? in
            state.beginning.remove(number)
            return state.waiters.firstIndex { $0.number == number }.map { state.waiters.remove(at: $0) }
        }
        waiter?.continuation.resume(returning: false)
    }
}
