import Glibc
import Index
import NIOPosix

/// Threads for work that takes too long for a task: reading, hashing, compressing.
public struct WorkPools: Sendable {
    private static let mostCompressors = 4

    /// For work that a client waits for.
    public let urgent: NIOThreadPool
    /// For work that is done ahead of time: guests and everything else on the machine go first.
    public let background: NIOThreadPool
    /// For reading what other hosts of the site borrow. Nothing in it waits for another host: two hosts that borrow from
    /// each other would otherwise wait for each other's threads.
    let lending: NIOThreadPool
    private static let lenders = 2
    /// Threads of each pool.
    private let threads: Int

    /// Pools whose threads have started.
    /// - Parameter count: of each kind; at least 1.
    public init(threads count: Int) {
        threads = count
        urgent = NIOThreadPool(numberOfThreads: count)
        background = NIOThreadPool(numberOfThreads: count)
        urgent.start()
        background.start()
        lending = NIOThreadPool(numberOfThreads: Self.lenders)
        lending.start()
        Self.lowerPriority(of: background, threads: count)
        Self.lowerPriority(of: lending, threads: Self.lenders)
    }

    private static func lowerPriority(of pool: NIOThreadPool, threads count: Int) {
        let all = Meeting(of: count)
        for _ in 0..<count {
            pool.submit { _ in
                LowPriority.enter(.some)
                // The barrier makes each job land on a thread of its own.
                all.wait()
            }
        }
    }

    /// Compression threads for each of so many disks, beside the pools: more are seldom kept busy, and each takes some 30 MiB.
    func compressors(for disks: Int) -> Int { max(1, min(threads, Self.mostCompressors) / disks) }

    /// Ends the threads once their work is done.
    public func shutDown() async {
        try? await urgent.shutdownGracefully()
        try? await background.shutdownGracefully()
        try? await lending.shutdownGracefully()
    }
}

/// A barrier: threads go on once all of them have come.
///
/// `@unchecked Sendable`: the barrier is made before and destroyed after any use of it.
private final class Meeting: @unchecked Sendable {
    private let barrier = UnsafeMutablePointer<pthread_barrier_t>.allocate(capacity: 1)

    init(of count: Int) { pthread_barrier_init(barrier, nil, UInt32(count)) }

    deinit {
        pthread_barrier_destroy(barrier)
        barrier.deallocate()
    }

    func wait() { pthread_barrier_wait(barrier) }
}
