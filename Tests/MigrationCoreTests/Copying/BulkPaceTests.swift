import TestSupport
import Testing

@testable import MigrationCore
@testable import PeerModel

@Suite("How fast bulk goes beside demands", .timeLimit(.minutes(10)))
struct BulkPaceTests {
    private func path(_ roundTrip: Double, shortest: Double = 20, rate: UInt64 = 12_500_000) -> PathState {
        PathState(
            roundTrip: .microseconds(Int64(roundTrip * 1000)), shortestRoundTrip: .microseconds(Int64(shortest * 1000)),
            bytesPerSecond: rate)
    }

    @Test("Without demands there is no limit, and one that was is lifted a while after the last")
    func lifted() {
        var pace = BulkPace()
        let now = ContinuousClock.now
        var changes: [BulkPace.Change?] = []
        changes.append(pace.next(path(60), sinceDemand: nil, at: now))
        changes.append(pace.next(path(60), sinceDemand: .seconds(4), at: now))
        changes.append(pace.next(path(60), sinceDemand: .zero, at: now))
        changes.append(pace.next(path(60), sinceDemand: .seconds(4), at: now))
        changes.append(pace.next(path(60), sinceDemand: .seconds(4), at: now))
        let limited = BulkPace.Change(bytesPerSecond: 10_625_000)
        #expect(changes == [nil, nil, limited, BulkPace.Change(bytesPerSecond: nil), nil])
    }

    @Test("A change is given a round trip to show")
    func interval() {
        var pace = BulkPace()
        let now = ContinuousClock.now
        #expect(pace.isDue(at: now))
        _ = pace.next(path(60), sinceDemand: .zero, at: now)
        #expect(!pace.isDue(at: now + .milliseconds(59)) && pace.isDue(at: now + .milliseconds(60)))
        _ = pace.next(path(0.1, shortest: 0.1), sinceDemand: .zero, at: now)
        #expect(!pace.isDue(at: now + .milliseconds(9)) && pace.isDue(at: now + .milliseconds(10)))
    }

    /// At a low pace a packet waits for the one before it at the sender, and the round trip seems longer.
    @Test("A flow that is slow by itself is not taken for one that fills a queue")
    func slowFlow() {
        var pace = BulkPace()
        var now = ContinuousClock.now
        var rate: UInt64 = 50_000
        for _ in 0..<60 {
            let own = 1500 / Double(rate) * 1000
            let change = pace.next(path(50 + own, shortest: 50, rate: rate), sinceDemand: .zero, at: now)
            rate = change?.bytesPerSecond ?? rate
            now += .milliseconds(50)
        }
        #expect(rate > 12_500_000)
    }

    @Test("A flow that has just begun may send a window in a round trip, however little of it has arrived")
    func window() {
        var pace = BulkPace()
        let change = pace.next(path(50, shortest: 50, rate: 28_000), sinceDemand: .zero, at: .now)
        #expect(change?.bytesPerSecond == 1_280_000)
    }

    @Test("Where it is known what the path carries, a flow that has just begun is not slow because of others' queues")
    func known() {
        var pace = BulkPace()
        var now = ContinuousClock.now
        for _ in 0..<10 {
            let rate = pace.next(path(60, rate: 100_000), carried: 10_000_000, sinceDemand: .zero, at: now)
            #expect(rate?.bytesPerSecond ?? 0 >= 4_000_000)
            now += .milliseconds(60)
        }
        var quiet = BulkPace()
        let first = quiet.next(path(20, rate: 100_000), carried: 10_000_000, sinceDemand: .zero, at: now)
        #expect(first?.bytesPerSecond == 10_800_000)
    }

    /// A link with one queue, which bulk alone fills or lets run empty.
    @Test(
        "The queue of a link is short, and the link nearly full, whatever the flow began with",
        arguments: [1_000_000, 12_500_000, 125_000_000], [0.02, 1.25])
    func settles(_ carried: Double, _ first: Double) {
        var pace = BulkPace()
        var now = ContinuousClock.now
        var rate = carried * first
        var queue = carried * 0.04
        var used = 0.0
        var waits: [Double] = []
        for step in 0..<400 {
            let roundTrip = 20 + queue / carried * 1000
            let interval = max(roundTrip, 10) / 1000
            let arrived = min(rate, carried)
            if let change = pace.next(path(roundTrip, rate: UInt64(arrived)), sinceDemand: .zero, at: now) {
                rate = Double(change.bytesPerSecond!)
            }
            queue = max(0, queue + (rate - carried) * interval)
            now += .seconds(interval)
            guard step >= 50 else { continue }
            used += min(rate, carried) / carried / 350
            waits.append(queue / carried * 1000)
        }
        #expect(used > 0.85, "\(used)")
        #expect(waits.max()! < 12, "\(waits.max()!) ms")
    }
}
