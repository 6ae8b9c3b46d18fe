import Testing

@testable import MigrationCore

@Suite("How long a guest waits at the switchover")
struct DowntimeTests {
    private func downtime(allowed: Duration? = nil, disks: Int = 1, roundTrip: Duration = .milliseconds(5)) -> Downtime
    {
        var downtime = Downtime(allowed: allowed, disks: disks)
        downtime.roundTrip = roundTrip
        return downtime
    }

    private func isNear(_ seconds: Double, _ expected: Double) -> Bool { abs(seconds - expected) < 1e-9 }

    @Test("Nobody says how long -> two round trips and 50 ms are allowed; the operator says so -> that")
    func allowed() {
        func limit(_ downtime: Downtime) -> Double {
            downtime.situation(dirty: 0, settled: 0, sending: .zero, threshold: 0).maximumPause
        }
        holds(isNear(limit(downtime()), 0.06))
        holds(isNear(limit(downtime(roundTrip: .milliseconds(100))), 0.25))
        holds(isNear(limit(downtime(allowed: .milliseconds(7))), 0.007))
    }

    @Test("The disks of a group share the link -> each takes as long as all; the round trips come once")
    func expected() {
        let one = downtime().situation(dirty: 10, settled: 4, sending: .milliseconds(30), threshold: 3)
        holds(isNear(one.expectedPause, 0.05) && isNear(one.leastPause, 0.02))
        holds(one.dirty == 10 && one.settled == 4 && one.threshold == 3)
        let three = downtime(disks: 3).situation(dirty: 10, settled: 4, sending: .milliseconds(30), threshold: 0)
        holds(isNear(three.expectedPause, 0.11) && isNear(three.leastPause, 0.02))
    }

    @Test("The guest writes between the two counts -> no more is settled than is left")
    func counts() {
        holds(downtime().situation(dirty: 4, settled: 10, sending: .zero, threshold: 0).settled == 4)
    }

    @Test("Behind the fence -> a silent destination is given up after 10 s, or twice what is allowed or expected")
    func fence() {
        holds(downtime().longestFence(sending: .zero) == .seconds(10))
        holds(downtime(allowed: .seconds(60)).longestFence(sending: .seconds(1)) == .seconds(120))
        holds(downtime(disks: 2).longestFence(sending: .seconds(20)) == .milliseconds(80_020))
        holds(downtime(roundTrip: .seconds(60)).longestFence(sending: .zero) == .seconds(10))
    }
}
