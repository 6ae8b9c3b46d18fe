import Glibc
import NIOConcurrencyHelpers

/// Runs the same work on several threads and waits for all of them.
///
/// These are plain threads: the work reads files and hashes for minutes, and would block Swift's cooperative pool. The
/// calling thread is one of the workers. The system may grant fewer threads than `count`, so workers must share the
/// work as they go and not by number.
enum Workers {
    /// - Returns: The workers' values, in no particular order.
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

    /// A closure in a box, which a C callback can carry.
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
