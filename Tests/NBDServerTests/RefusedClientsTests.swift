import NIOConcurrencyHelpers
import Testing

@testable import NBDServer

@Suite("Refused clients")
struct RefusedClientsTests {
    @Test("The first refusal is reported at once, further ones together once a minute")
    func reports() {
        let reports = NIOLockedValueBox<[UInt64]>([])
        let refused = RefusedClients { count, _ in reports.withLockedValue { $0.append(count) } }
        let start = ContinuousClock.now
        refused.record(.unknown, at: start)
        for second in 1...59 { refused.record(.unknown, at: start + .seconds(second)) }
        #expect(reports.withLockedValue { $0 } == [1])
        refused.record(.unknown, at: start + .seconds(60))
        #expect(reports.withLockedValue { $0 } == [1, 60])
        refused.record(.unknown, at: start + .seconds(61))
        #expect(reports.withLockedValue { $0 } == [1, 60])
    }
}
