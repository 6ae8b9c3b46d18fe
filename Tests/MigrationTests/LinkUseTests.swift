import Peer
import Testing

@testable import Migration

@Suite("How a link is used")
struct LinkUseTests {
    private static func path(acknowledged: UInt64, unsent: UInt64) -> PathState {
        PathState(
            roundTrip: .milliseconds(2), shortestRoundTrip: .milliseconds(1), bytesPerSecond: 7,
            acknowledged: acknowledged,
            unsent: unsent)
    }

    @Test("Where something still waits it was full all the time, and what has come since is what it carried")
    func full() {
        var use = LinkUse()
        let began = ContinuousClock.now
        #expect(use.next(Self.path(acknowledged: 100, unsent: 1), at: began) == .init(wasFull: true, bytesPerSecond: 7))
        #expect(
            use.next(Self.path(acknowledged: 600, unsent: 1), at: began + .milliseconds(500))
                == .init(wasFull: true, carried: 500, seconds: 0.5, bytesPerSecond: 7))
    }

    @Test("Where nothing waits any more it says nothing of what it could have carried")
    func drained() {
        var use = LinkUse()
        let began = ContinuousClock.now
        _ = use.next(Self.path(acknowledged: 100, unsent: 1), at: began)
        #expect(use.next(Self.path(acknowledged: 600, unsent: 0), at: began + .seconds(1)) == .init(bytesPerSecond: 7))
        #expect(
            use.next(Self.path(acknowledged: 800, unsent: 9), at: began + .seconds(2))
                == .init(wasFull: true, carried: 200, seconds: 1, bytesPerSecond: 7))
    }

    @Test("Where TCP does not say, nothing is known, and what comes after it is a beginning")
    func unknown() {
        var use = LinkUse()
        let began = ContinuousClock.now
        _ = use.next(Self.path(acknowledged: 100, unsent: 1), at: began)
        #expect(use.next(nil, at: began + .seconds(1)) == .init())
        #expect(
            use.next(Self.path(acknowledged: 800, unsent: 9), at: began + .seconds(2))
                == .init(wasFull: true, bytesPerSecond: 7))
    }
}
