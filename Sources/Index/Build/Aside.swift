import Glibc
import NIOConcurrencyHelpers

/// Something that is done on a thread of its own meanwhile, and waited for once.
final class Aside<Value: Sendable>: Sendable {
    private let outcome = NIOLockedValueBox<Result<Value, any Error>?>(nil)
    private let isDone = ConditionLock(value: false)

    /// Begins at once; where the system has no thread to give, does it before it returns.
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
