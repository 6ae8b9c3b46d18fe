import Glibc
import Testing

@testable import Ring

@Suite struct LoopLoadTests {
    @Test("A thread that has run for half of the time -> 500; no measurement for long -> 0 if it sleeps, 1000 if not")
    func figures() {
        let load = LoopLoad()
        load.record(at: 1_000_000_000, ran: 5_000_000)
        load.record(at: 1_250_000_000, ran: 130_000_000)
        #expect(load.busy(at: 1_250_000_000) == 500)
        #expect(load.busy(at: 1_250_000_000 + 3 * LoopLoad.period) == 500)
        let late = 1_250_000_001 + 3 * LoopLoad.period
        #expect(load.busy(at: late) == 1000)
        load.willSleep()
        #expect(load.busy(at: late) == 0)
        #expect(load.busy(at: late - 1) == 500)
        load.didWake()
        #expect(load.busy(at: late) == 1000)
    }

    @Test("A loop with a few long batches -> measured all the same")
    func longBatches() async throws {
        let loop = try EventLoop(index: 0)
        defer { loop.stop() }
        // 20 batches of 40 ms each of the thread's own time.
        for _ in 0..<20 { await loop.perform { burn(nanoseconds: 40_000_000) } }
        // The last figure, however long ago the loop last had a turn.
        #expect(loop.load.busy(at: 0) > 0)
    }
}

/// Runs for so long a time of the calling thread.
private func burn(nanoseconds: UInt64) {
    func ran() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
    let end = ran() + nanoseconds
    while ran() < end {}
}
