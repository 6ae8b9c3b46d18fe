import Testing

@testable import Block

@Suite struct WritePaceTests {
    private let slow = WritePace.slow

    @Test func fastWritesAreAlwaysAllowed() {
        var pace = WritePace()
        for time in stride(from: UInt64(1), to: 1_000_000, by: 1000) {
            #expect(pace.allows(at: time))
            pace.record(from: time, to: time + 999)
        }
    }

    @Test func aSlowWritePausesFurtherOnes() {
        var pace = WritePace()
        pace.record(from: 0, to: slow)
        #expect(!pace.allows(at: slow))
        #expect(!pace.allows(at: slow + WritePace.shortestPause - 1))
        #expect(pace.allows(at: slow + WritePace.shortestPause))
    }

    @Test func slowWritesInARowPauseLongerUpToALimit() {
        var pace = WritePace()
        var time: UInt64 = 0
        var pauses: [UInt64] = []
        for _ in 0..<10 {
            pace.record(from: time, to: time + slow)
            time += slow
            let ended = time
            while !pace.allows(at: time) { time += 1_000_000 }
            pauses.append(time - ended)
        }
        #expect(pauses[0] == WritePace.shortestPause && pauses[1] == 2 * pauses[0])
        #expect(pauses.last == WritePace.longestPause)
        pace.record(from: time, to: time + 1)
        pace.record(from: time, to: time + slow)
        #expect(pace.allows(at: time + slow + WritePace.shortestPause), "a quick one ends the row")
    }
}
