import Glibc

/// Whether writes of one loop are worth doing on its own thread.
///
/// A write into the page cache costs less than handing it to another thread, as long as it need not wait. When the kernel
/// holds the writer back (too much dirty memory, a journal that commits), everybody on the loop waits with it; so after
/// a slow write the next ones go through the ring for a while, twice as long for each slow one in a row.
struct WritePace {
    /// Nanoseconds that a write at once may take; more is the kernel's doing, or a busy machine's.
    static let slow: UInt64 = 3_000_000
    static let shortestPause: UInt64 = 10_000_000
    static let longestPause: UInt64 = 1_000_000_000

    private var pause: UInt64 = 0
    private var resumes: UInt64 = 0

    /// Whether a write that begins at `now` may be done at once.
    func allows(at now: UInt64) -> Bool { now >= resumes }

    /// Takes in how long a write took.
    mutating func note(from began: UInt64, to ended: UInt64) {
        guard ended - began >= Self.slow else {
            pause = 0
            return
        }
        pause = min(max(Self.shortestPause, pause * 2), Self.longestPause)
        resumes = ended + pause
    }

    /// Nanoseconds of a clock that only goes forward.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
