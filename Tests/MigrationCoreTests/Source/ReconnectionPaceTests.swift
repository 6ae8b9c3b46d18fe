import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("The pace of new connections")
struct ReconnectionPaceTests {
    @Test("Connections end at once -> the delay doubles up to two seconds; one has lasted -> it begins again")
    func pace() {
        var pace = ReconnectionPace()
        let delays = (0..<8).map { _ in pace.ended(after: .zero) }
        #expect(delays == [50, 100, 200, 400, 800, 1600, 2000, 2000].map { Duration.milliseconds($0) })
        holds(pace.ended(after: .seconds(2)) == .seconds(2))
        holds(pace.ended(after: .milliseconds(2001)) == .milliseconds(50))
    }
}
