import Glibc

/// Decides whether a loop does writes on its own thread.
///
/// A write into the page cache costs less than passing it to another thread, as long as it does not wait. The kernel
/// makes a writer wait for dirty memory or a journal, and all clients of the loop wait with it. After a slow write,
/// writes therefore use the ring for a while, twice as long for each slow write in a row.
package struct WritePace {
    /// Nanoseconds of a write from which on it counts as slow: the kernel or a busy machine made it wait.
    static let slow: UInt64 = 3_000_000
    static let shortestPause: UInt64 = 10_000_000
    static let longestPause: UInt64 = 1_000_000_000

    private var pause: UInt64 = 0
    private var resumes: UInt64 = 0

    /// Whether a write that begins at `now` may be done at once.
    func allows(at now: UInt64) -> Bool { now >= resumes }

    /// Records the duration of a write.
    mutating func record(from began: UInt64, to ended: UInt64) {
        guard ended - began >= Self.slow else {
            pause = 0
            return
        }
        pause = min(max(Self.shortestPause, pause * 2), Self.longestPause)
        resumes = ended + pause
    }

    /// Nanoseconds of the monotonic clock. The kernel's vDSO answers, without a system call.
    package static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
