import Glibc
import NIOConcurrencyHelpers

/// Runs the same work on several threads and waits for all of them.
///
/// Plain threads, because the work reads files and hashes for minutes: on Swift's cooperative pool it would
/// keep everything else from running. The calling thread is one of the workers. Where the system gives fewer
/// threads than wanted the work runs on fewer, so it must be shared out as it goes and not by worker number.
enum Workers {
    /// - Returns: What each worker returned, in no particular order.
    /// - Throws: One of the workers' errors, after all have ended.
    static func run<Value: Sendable>(
        _ count: Int, _ work: @escaping @Sendable () throws -> Value
    ) throws -> [Value] {
        let outcomes = Outcomes<Value>()
        let job = Job { outcomes.add(Result { try work() }) }
        let threads = stride(from: 1, to: count, by: 1).compactMap { _ in start(job) }
        job.body()
        for thread in threads { pthread_join(thread, nil) }
        return try outcomes.values()
    }

    static func start(_ job: Job) -> pthread_t? {
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(job)
        let status = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Job>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, argument.toOpaque())
        guard status == 0 else {
            argument.release()
            return nil
        }
        return thread
    }

    /// What a thread is handed: a C callback can't carry a closure.
    final class Job: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) {
            self.body = body
        }
    }

    private final class Outcomes<Value: Sendable>: Sendable {
        private let all = NIOLockedValueBox<[Result<Value, any Error>]>([])

        func add(_ outcome: Result<Value, any Error>) {
            all.withLockedValue { $0.append(outcome) }
        }

        func values() throws -> [Value] {
            try all.withLockedValue { all in try all.map { try $0.get() } }
        }
    }
}
