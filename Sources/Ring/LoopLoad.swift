import Glibc
import Synchronization

/// The part of the time for which a loop's thread has run lately. The thread measures it while it has work; any thread may
/// read it.
public final class LoopLoad: Sendable {
    /// Nanoseconds of one measurement.
    package static let period: UInt64 = 250_000_000

    private let permille = Atomic<Int>(0)
    private let measuredAt = Atomic<UInt64>(0)
    /// Whether the thread waits for work.
    private let isAsleep = Atomic<Bool>(false)
    /// State of the measuring thread.
    private let ranBefore = Atomic<UInt64>(0)

    package init() {}

    /// Thousandths of the last measurement in which the thread ran. After a long time without one, 0 if the thread waits for
    /// work, and 1000 if something holds it up.
    package var busy: Int { busy(at: Self.time(CLOCK_MONOTONIC)) }

    func busy(at now: UInt64) -> Int {
        let measured = measuredAt.load(ordering: .relaxed)
        guard now > measured, now - measured > 3 * Self.period else { return permille.load(ordering: .relaxed) }
        // A thread in a system call that does not return runs for no time, but nobody should get in line behind it.
        return isAsleep.load(ordering: .relaxed) ? 0 : 1000
    }

    /// Notes that the thread is about to wait for work.
    @inline(__always)
    func willSleep() { isAsleep.store(true, ordering: .relaxed) }

    /// Notes that the thread has work again.
    @inline(__always)
    func didWake() { isAsleep.store(false, ordering: .relaxed) }

    /// Measures if it is time for it; after each batch, on the loop's thread.
    /// - Returns: whether there is a new figure.
    @inline(__always)
    func count() -> Bool {
        // The coarse clock takes 5 ns, so that even a loop with few long batches is measured in time.
        isDue(at: Self.time(CLOCK_MONOTONIC_COARSE)) && measure()
    }

    @inline(__always)
    private func isDue(at now: UInt64) -> Bool {
        // The coarse clock may be behind the other one by a tick.
        let before = measuredAt.load(ordering: .relaxed)
        return now > before && now - before >= Self.period
    }

    private func measure() -> Bool {
        record(at: Self.time(CLOCK_MONOTONIC), ran: Self.time(CLOCK_THREAD_CPUTIME_ID))
        return true
    }

    /// Ends a measurement at `now`, at which the thread has run for `ran` nanoseconds in all.
    func record(at now: UInt64, ran: UInt64) {
        let time = now - measuredAt.load(ordering: .relaxed)
        let part = (ran &- ranBefore.load(ordering: .relaxed)) &* 1000 / max(time, 1)
        permille.store(Int(min(part, 1000)), ordering: .relaxed)
        ranBefore.store(ran, ordering: .relaxed)
        measuredAt.store(now, ordering: .relaxed)
    }

    @inline(__always)
    private static func time(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
