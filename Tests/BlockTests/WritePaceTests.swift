import CLinux
import Glibc
import Testing

@testable import Block

@Suite("Writes on a loop's own thread")
struct WritePaceTests {
    private static let slow = WritePace.slow
    private var pace = WritePace()

    /// Records a write as `DiskPort` does.
    private mutating func record(from began: UInt64, to ended: UInt64, hasWaited: Bool) {
        let before = pace.isWatching(at: began) ? 7 : nil
        pace.record(from: began, to: ended, waitsBefore: before) { hasWaited ? 8 : 7 }
    }

    @Test("Fast writes -> always allowed, and not watched")
    mutating func fast() {
        for time in stride(from: UInt64(1), to: 1_000_000, by: 1000) {
            #expect(pace.allows(at: time) && !pace.isWatching(at: time))
            record(from: time, to: time + 999, hasWaited: false)
        }
    }

    @Test("A second slow write that has waited -> the next ones are passed on for a while")
    mutating func waiting() {
        record(from: 0, to: Self.slow, hasWaited: true)
        #expect(pace.allows(at: Self.slow) && pace.isWatching(at: Self.slow))
        let ended = 2 * Self.slow
        record(from: Self.slow, to: ended, hasWaited: true)
        #expect(!pace.allows(at: ended) && !pace.allows(at: ended + WritePace.shortestPause - 1))
        #expect(pace.allows(at: ended + WritePace.shortestPause))
        #expect(pace.isWatching(at: ended + WritePace.shortestPause))
    }

    @Test("Slow writes that only lacked the processor -> still allowed; watched, and after a while no more")
    mutating func preempted() {
        for number in 0..<100 {
            record(from: UInt64(number) * Self.slow, to: UInt64(number + 1) * Self.slow, hasWaited: false)
            #expect(pace.allows(at: UInt64(number + 1) * Self.slow))
        }
        #expect(pace.isWatching(at: 100 * Self.slow) && !pace.isWatching(at: 100 * Self.slow + WritePace.shortestWatch))
    }

    @Test("A slow disk that gets few writes -> most are passed on all the same")
    mutating func fewWrites() {
        let (duration, gap): (UInt64, UInt64) = (300_000_000, 300_000_000)
        var (time, own): (UInt64, Int) = (0, 0)
        for _ in 0..<100 {
            if pace.allows(at: time) {
                own += 1
                record(from: time, to: time + duration, hasWaited: true)
            }
            time += duration + gap
        }
        #expect((2..<60).contains(own), "\(own) of 100 held the loop up")
    }

    @Test("A thread that sleeps -> has waited")
    func threadWaits() {
        let before = linux_thread_waits()
        usleep(1000)
        #expect(linux_thread_waits() > before)
    }

    @Test("Slow writes in a row -> longer pauses up to a limit; a fast one ends the row")
    mutating func row() {
        var time = Self.slow
        record(from: 0, to: time, hasWaited: true)
        var pauses: [UInt64] = []
        for _ in 0..<10 {
            record(from: time, to: time + Self.slow, hasWaited: true)
            time += Self.slow
            let ended = time
            while !pace.allows(at: time) { time += 1_000_000 }
            pauses.append(time - ended)
        }
        #expect(pauses[0] == WritePace.shortestPause && pauses[1] == 2 * pauses[0])
        #expect(pauses.last == WritePace.longestPause)
        record(from: time, to: time + 1, hasWaited: false)
        record(from: time, to: time + Self.slow, hasWaited: true)
        #expect(pace.allows(at: time + Self.slow + WritePace.shortestPause))
    }
}
