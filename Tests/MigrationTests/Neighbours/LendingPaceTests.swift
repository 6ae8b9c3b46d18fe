import NIOConcurrencyHelpers
import Testing

@testable import Migration

@Suite("The rate of what is lent")
struct LendingPaceTests {
    @Test("Bytes at once -> spread over their time; after a pause -> a short burst")
    func pace() {
        let pace = LendingPace(bytesPerSecond: 1 << 20)
        let start = ContinuousClock.now + .seconds(10)
        // The first megabyte may go at once, each further one a second later, less the burst.
        let moments = (0..<4).map { _ in pace.book(1 << 20, now: start) }
        #expect(moments[0] == start)
        #expect(moments[1] - start == .seconds(1) - .milliseconds(20))
        #expect(moments[3] - start == .seconds(3) - .milliseconds(20))
        #expect(pace.book(1 << 20, now: start + .seconds(60)) == start + .seconds(60))
    }

    @Test("Long reads are booked before a short one -> it goes at once; short ones alone -> within the limit, too")
    func shortReads() {
        let pace = LendingPace(bytesPerSecond: 100 << 20)
        let start = ContinuousClock.now + .seconds(10)
        for _ in 0..<4 { _ = pace.book(1 << 20, now: start) }
        #expect(pace.book(64 << 10, now: start) == start)
        #expect(pace.book(1 << 20, now: start) > start)
        var last = start
        for _ in 0..<1600 { last = pace.book(64 << 10, now: start) }
        #expect((.milliseconds(900)...(.milliseconds(1100))).contains(last - start))
    }

    @Test("Clients need the cores -> less is lent, with a limit or without; a lower limit stays")
    func besideClients() {
        let now = ContinuousClock.now
        let count = Int(LendingPace.besideClients)
        for (limit, seconds) in [(nil, 1.0), (1 << 30, 1), (LendingPace.besideClients / 2, 2)] as [(UInt64?, Double)] {
            let isBusy = NIOLockedValueBox(false)
            let pace = LendingPace(bytesPerSecond: limit) { isBusy.withLockedValue { $0 } }
            isBusy.withLockedValue { $0 = true }
            #expect(pace.book(count, now: now + .seconds(10)) == now + .seconds(10))
            #expect(pace.book(count, now: now + .seconds(10)) - now == .seconds(10 + seconds) - .milliseconds(20))
            // A short read does not wait, unless the operator's limit is lower.
            #expect((pace.book(4096, now: now + .seconds(10)) == now + .seconds(10)) == (seconds == 1))
            isBusy.withLockedValue { $0 = false }
            #expect(limit != nil || pace.book(count, now: now + .seconds(10)) == now + .seconds(10))
        }
    }

    @Test("No limit -> never a wait; a limit of 0 -> no trap")
    func limits() {
        let now = ContinuousClock.now
        #expect(LendingPace(bytesPerSecond: nil).book(1 << 30, now: now) == now)
        #expect(LendingPace(bytesPerSecond: 0).book(1, now: now) <= now + .seconds(1))
    }
}
