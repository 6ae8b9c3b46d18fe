import NIOConcurrencyHelpers
import Testing

@testable import NBDServer

@Suite("Clients that are refused")
struct RefusedClientsTests {
    @Test("The first is told of at once, and those that follow together, once a minute")
    func reports() {
        let reports = NIOLockedValueBox<[UInt64]>([])
        let refused = RefusedClients { count in reports.withLockedValue { $0.append(count) } }
        let start = ContinuousClock.now
        refused.record(at: start)
        for second in 1...59 { refused.record(at: start + .seconds(second)) }
        #expect(reports.withLockedValue { $0 } == [1])
        refused.record(at: start + .seconds(60))
        #expect(reports.withLockedValue { $0 } == [1, 60])
        refused.record(at: start + .seconds(61))
        #expect(reports.withLockedValue { $0 } == [1, 60])
    }
}
