import Dispatch

/// Work that may not come back for long, as a flush of failing storage: it must not take a thread of the tasks' pool, of which
/// there are as few as cores.
enum BlockingWork {
    /// Does it on a thread of its own, and returns once it is done; cancelling the task changes nothing.
    static func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global(qos: .userInitiated).async {
                continuation.resume(with: Swift.Result { try body() })
            }
        }
    }
}
