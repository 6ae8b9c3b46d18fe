import Testing

@testable import MigrationCore
@testable import PeerModel

@Suite("How a link is used")
struct LinkUseTests {
    private let began = ContinuousClock.now

    private static func path(acknowledged: UInt64, unsent: UInt64) -> PathState {
        PathState(
            roundTrip: .milliseconds(2), shortestRoundTrip: .milliseconds(1), bytesPerSecond: 7,
            acknowledged: acknowledged, unsent: unsent)
    }

    /// After a batch that was sent from `began` on for 400 ms, with 100 bytes acknowledged before.
    private func afterOne() -> LinkUse {
        var use = LinkUse()
        let first = use.next(Self.path(acknowledged: 100, unsent: 1), idle: .zero, at: began)
        #expect(first == .init(wasFull: true, bytesPerSecond: 7))
        use.sent(at: began + .milliseconds(400))
        return use
    }

    /// What is said of the time until a second batch, waited for for 100 ms, with 500 bytes more acknowledged.
    private func second(unsent: UInt64, after time: Duration) -> LinkUse.Stretch {
        var use = afterOne()
        return use.next(Self.path(acknowledged: 600, unsent: unsent), idle: .milliseconds(100), at: began + time)
    }

    @Test("Where something still waits it was full all the time, and what has come since is what it carried")
    func full() {
        let stretch = second(unsent: 1, after: .milliseconds(500))
        #expect(stretch == .init(wasFull: true, carried: 500, seconds: 0.5, bytesPerSecond: 7))
    }

    @Test("Where nothing waits any more it says nothing of what it could have carried")
    func drained() {
        #expect(second(unsent: 0, after: .milliseconds(500)) == .init(bytesPerSecond: 7))
    }

    @Test("Nor where there was nothing to send for a while, whatever waits now")
    func unused() {
        #expect(second(unsent: 1, after: .seconds(5)) == .init(wasFull: true, bytesPerSecond: 7))
    }

    @Test("Where TCP does not say, nothing is known, and what comes after it is a beginning")
    func unknown() {
        var use = afterOne()
        #expect(use.next(nil, idle: .milliseconds(100), at: began + .milliseconds(500)) == .init())
        use.sent(at: began + .milliseconds(600))
        let path = Self.path(acknowledged: 800, unsent: 9)
        #expect(use.next(path, idle: .zero, at: began + .milliseconds(600)) == .init(wasFull: true, bytesPerSecond: 7))
    }
}
