import Glibc
import NIOConcurrencyHelpers

/// Runs one closure on a thread of its own; one caller waits for its result.
final class BackgroundThread<Value: Sendable>: Sendable {
    private let outcome = NIOLockedValueBox<Result<Value, any Error>?>(nil)
    private let isDone = ConditionLock(value: false)

    /// Starts the closure at once. If the system grants no thread, the closure runs here before `init` returns.
    init(_ body: @escaping @Sendable () throws -> Value) {
        let (outcome, isDone) = (outcome, isDone)
        let job = Workers.Job {
            outcome.withLockedValue { $0 = Result { try body() } }
            isDone.lock()
            isDone.unlock(withValue: true)
        }
        if let thread = Workers.start(job) {
            pthread_detach(thread)
        } else {
            job.body()
        }
    }

    func wait() throws -> Value {
        isDone.lock(whenValue: true)
        isDone.unlock()
        return try outcome.withLockedValue { try $0!.get() }
    }
}
