import Foundation
import Index
import NIOConcurrencyHelpers

/// Runs work that blocks, and that ends early once nobody waits for it.
enum InterruptibleThread {
    /// Runs `body` on a thread of its own.
    /// - Parameters:
    ///   - priority: Of the thread; nil for the usual one.
    ///   - body: Asks now and then whether to go on: no longer, once the task is cancelled.
    /// - Throws: What `body` throws.
    static func run<Value: Sendable, Failure: Error>(
        _ priority: LowPriority.Degree? = nil,
        _ body: @escaping @Sendable (_ isWanted: @escaping @Sendable () -> Bool) throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let isWanted = NIOLockedValueBox(true)
        let result: Result<Value, Failure> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    if let priority { LowPriority.enter(priority) }
                    continuation.resume(
                        returning: Result { () throws(Failure) in try body { isWanted.withLockedValue { $0 } } })
                }
            }
        } onCancel: {
            isWanted.withLockedValue { $0 = false }
        }
        return try result.get()
    }
}
