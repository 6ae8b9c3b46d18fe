import Dispatch

/// Runs work that may block for long, such as a flush of failing storage. It stays outside the tasks' thread pool,
/// which has only one thread for each core.
package enum BlockingWork {
    /// Runs the work on a thread of its own, and returns once it is done. Cancelling the task changes nothing.
    package static func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global(qos: .userInitiated).async {
                continuation.resume(with: Swift.Result { try body() })
            }
        }
    }
}
