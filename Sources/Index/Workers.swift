import Glibc
import Synchronization

/// Runs the same work on several threads and waits for all of them.
///
/// Plain threads, because the work reads files and hashes for minutes: on Swift's cooperative pool it would keep
/// everything else from running. The calling thread is one of the workers. Where the system gives fewer threads
/// than wanted the work runs on fewer, so it must be shared out as it goes and not by worker number.
enum Workers {
    /// - Returns: What each worker returned, in no particular order.
    /// - Throws: The first error of any worker, after all have ended.
    static func run<Result: Sendable>(
        _ count: Int, _ work: @escaping @Sendable () throws -> Result
    ) throws -> [Result] {
        let crew = Crew(work: work)
        let threads = (1..<max(1, count)).compactMap { _ in start(crew) }
        crew.runOnce()
        for thread in threads { pthread_join(thread, nil) }
        return try crew.results()
    }

    private static func start(_ crew: some CrewWork) -> pthread_t? {
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(crew as AnyObject)
        let status = pthread_create(
            &thread, nil,
            { argument in
                let crew = Unmanaged<AnyObject>.fromOpaque(argument!).takeRetainedValue()
                (crew as! any CrewWork).runOnce()
                return nil
            }, argument.toOpaque())
        guard status == 0 else {
            argument.release()
            return nil
        }
        return thread
    }
}

/// What a thread sees of a crew: a C callback can't be generic.
private protocol CrewWork: AnyObject, Sendable {
    func runOnce()
}

/// The work and what came of it.
private final class Crew<Result: Sendable>: CrewWork {
    private let work: @Sendable () throws -> Result
    private let outcomes = Mutex<[Swift.Result<Result, any Error>]>([])

    init(work: @escaping @Sendable () throws -> Result) {
        self.work = work
    }

    func runOnce() {
        let outcome = Swift.Result { try work() }
        outcomes.withLock { $0.append(outcome) }
    }

    func results() throws -> [Result] {
        try outcomes.withLock { outcomes in try outcomes.map { try $0.get() } }
    }
}
