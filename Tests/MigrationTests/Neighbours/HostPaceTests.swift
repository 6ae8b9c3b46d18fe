import Testing

@testable import Migration

@Suite("The pace of another host")
struct HostPaceTests {
    private let start = ContinuousClock.now

    /// Asks for pieces one after another; each answer takes so many seconds, for which somebody waits.
    /// - Returns: The number of answers after which it is too slow; nil if it never is.
    private func answers(_ count: Int, bytes: UInt64, taking seconds: Double, _ pace: inout HostPace) -> Int? {
        var now = start
        for number in 0..<UInt32(count) {
            pace.ask(number, bytes: bytes, now: now)
            let later = now + .seconds(seconds)
            pace.answer(number, now: later)
            pace.wait(from: now, to: later)
            now = later
            if pace.isTooSlow { return Int(number) + 1 }
        }
        return nil
    }

    @Test("Each answer comes just in time -> too slow after the second; a host of a LAN never is")
    func slow() {
        var slow = HostPace(mostDebt: 5)
        #expect(answers(100, bytes: 65_536, taking: 4.9, &slow) == 2)
        slow.giveUp()
        #expect(!slow.isTooSlow && slow.patience == .seconds(2.5), "after a rest it gets half the time")
        var usual = HostPace(mostDebt: 5)
        #expect(answers(1000, bytes: 65_536, taking: 0.001, &usual) == nil)
        #expect(usual.isGood && usual.patience > .seconds(4.9))
    }

    @Test("Several wait at the same time -> it counts once; nobody waits -> it does not count")
    func waits() {
        var pace = HostPace(mostDebt: 5)
        for _ in 0..<8 { pace.wait(from: start, to: start + .seconds(2)) }
        #expect(!pace.isTooSlow && pace.patience == .seconds(3))
        pace.ask(1, bytes: 1 << 20, now: start)
        pace.answer(1, now: start + .seconds(100))
        #expect(!pace.isTooSlow && pace.patience > .seconds(3), "what comes is worth something")
    }

    @Test("A nearer host, and one that has less to do -> a shorter wait is expected")
    func expected() {
        var (near, far) = (HostPace(mostDebt: 5), HostPace(mostDebt: 5))
        _ = answers(10, bytes: 65_536, taking: 0.0005, &near)
        _ = answers(10, bytes: 65_536, taking: 0.02, &far)
        #expect(near.expectedWait < far.expectedWait)
        let idle = near.expectedWait
        near.ask(1000, bytes: 16 << 20, now: start)
        #expect(near.expectedWait > idle + .milliseconds(50))
        near.answer(1000, now: start + .milliseconds(1))
        #expect(near.expectedWait < idle + .milliseconds(1))
    }
}
