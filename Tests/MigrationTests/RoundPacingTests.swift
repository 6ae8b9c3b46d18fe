import Testing

@testable import Migration

@Suite("The pace of rounds")
struct RoundPacingTests {
    @Test("Rounds that help follow at once; rounds that don't wait longer and longer, up to a limit, until one helps")
    func paces() {
        var pacing = RoundPacing()
        let helping = [1000, 500, 100].map { pacing.delay(dirty: $0) }
        #expect(helping == [.zero, .zero, .zero])
        let useless = (0..<8).map { _ in pacing.delay(dirty: 100) }
        #expect(useless.first == .milliseconds(500))
        #expect(zip(useless, useless.dropFirst()).allSatisfy { $0 <= $1 })
        #expect(useless.last == .seconds(8))
        #expect(pacing.delay(dirty: 50) == .zero)
        #expect(pacing.delay(dirty: 50) == .milliseconds(500))
    }
}
