import Testing

@testable import MigrationCore

@Suite("What sending takes, besides round trips")
struct SendingSpeedTests {
    @Test("The answer's way back is no sending: of a short round it would be most of the time")
    func roundTrip() {
        var speed = SendingSpeed()
        speed.begin()
        speed.add(1 << 20, in: .milliseconds(5))
        speed.end(waited: .milliseconds(65), roundTrip: .milliseconds(50))
        #expect(abs(speed.time(for: 2 << 20, limit: nil).inSeconds - 0.04) < 1e-6)
    }

    @Test("A short round shows only that the link is better than it seemed")
    func short() {
        var speed = SendingSpeed()
        for (bytes, milliseconds) in [(1 << 20, 100), (1 << 10, 100), (1 << 10, 0)] as [(UInt64, Int)] {
            speed.begin()
            speed.add(bytes, in: .milliseconds(milliseconds))
            speed.end(waited: .milliseconds(1), roundTrip: .milliseconds(2))
            let expected = milliseconds == 0 ? 0 : 0.1
            #expect(abs(speed.time(for: 1 << 20, limit: nil).inSeconds - expected) < 2e-3)
        }
    }
}
