import Glibc

/// Decides whether a loop does writes on its own thread.
///
/// A write into the page cache costs less than passing it to another thread, as long as it does not wait. The kernel
/// makes a writer wait for dirty memory or a journal, and all clients of the loop wait with it. After a slow write that has
/// waited, writes therefore use the ring for a while, twice as long for each one in a row.
///
/// On a busy machine most slow writes wait for nothing: another thread had the core. To tell that costs a system call before each
/// write, so it is done only for some time after a slow write.
package struct WritePace {
    /// Nanoseconds of a write from which on it counts as slow.
    static let slow: UInt64 = 3_000_000
    /// Nanoseconds after a slow write for which writes are watched at least.
    static let shortestWatch: UInt64 = 200_000_000
    /// The same as a multiple of the write's duration: slow disks may get few writes.
    private static let watchTimes: UInt64 = 8
    static let shortestPause: UInt64 = 10_000_000
    static let longestPause: UInt64 = 1_000_000_000

    private var pause: UInt64 = 0
    private var resumes: UInt64 = 0
    private var watchEnd: UInt64 = 0

    /// Whether a write that begins at `now` may be done at once.
    func allows(at now: UInt64) -> Bool { now >= resumes }

    /// Whether to count the waits of the thread before a write that begins at `now`.
    func isWatching(at now: UInt64) -> Bool { now < watchEnd }

    /// Records the duration of a write.
    /// - Parameters:
    ///   - before: the count of the thread's waits before the write; nil if it was not watched.
    ///   - waits: counts them now.
    mutating func record(from began: UInt64, to ended: UInt64, waitsBefore before: Int?, waits: () -> Int) {
        guard ended - began >= Self.slow else {
            pause = 0
            return
        }
        let watch = max(Self.shortestWatch, (ended - began) * Self.watchTimes)
        watchEnd = ended + watch
        guard let before, waits() != before else { return }
        pause = min(max(Self.shortestPause, pause * 2), Self.longestPause)
        resumes = ended + pause
        watchEnd = resumes + max(watch, pause)
    }

    /// Nanoseconds of the monotonic clock. The kernel's vDSO answers, without a system call.
    package static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
