import Foundation
import Glibc
import TestSupport
import Testing

@Suite("What a run of the simulator says")
struct SeedWatchTests {
    @Test("A game that does not end is named after its time, and is hopeless after twice that")
    func stall() {
        var detector = StallDetector(slots: 3, patience: 2)
        #expect(detector.tick([1, 0, 3]) == [])
        #expect(detector.tick([1, 1, 4]) == [])
        #expect(detector.tick([1, 1, 5]) == [.init(slot: 0, ticks: 2, isHopeless: false)])
        #expect(detector.tick([1, 1, 7]) == [.init(slot: 1, ticks: 2, isHopeless: false)])
        #expect(detector.tick([1, 3, 7]) == [.init(slot: 0, ticks: 4, isHopeless: true)])
    }

    @Test("A slot that is empty, or plays one game after the other, is not named")
    func progress() {
        var detector = StallDetector(slots: 2, patience: 1)
        for turn in 0..<100 as Range<UInt64> { #expect(detector.tick([2, turn]).isEmpty) }
    }

    @Test("A seed that does not end is named twice, and the process then ends")
    func hangs() async throws {
        let result = await #expect(processExitsWith: .exitCode(EXIT_FAILURE), observing: [\.standardErrorContent]) {
            SeedWatch(path: nil, tick: 0.02, patience: 3).playing(4711) { while true { usleep(1000) } }
        }
        let lines = Self.lines(result)
        #expect(lines.count { $0.contains("no end after") && $0.contains("seed 4711 ") } == 2, "\(lines)")
    }

    @Test("A signal that ends the process names the seeds in play", arguments: [SIGSEGV, SIGABRT, SIGTERM, SIGINT])
    func signalled(_ signal: CInt) async throws {
        let result = await #expect(processExitsWith: .signal(signal), observing: [\.standardErrorContent]) {
            [signal = signal as CInt] in
            let watch = SeedWatch(path: nil, tick: 1, patience: 30)
            watch.playing(11) {}
            watch.playing(4711) { watch.playing(12, fault: "lateWord") { Self.end(by: signal) } }
        }
        #expect(Self.seeds(Self.lines(result)) == ["4711", "12"])
    }

    @Test("A trap names the seeds in play")
    func traps() async throws {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            SeedWatch(path: nil, tick: 1, patience: 30).playing(4711) { Self.trap() }
        }
        #expect(Self.seeds(Self.lines(result)) == ["4711"])
    }

    @Test("A process that exits by itself names the seeds in play")
    func exits() async throws {
        let result = await #expect(processExitsWith: .exitCode(3), observing: [\.standardErrorContent]) {
            SeedWatch(path: nil, tick: 1, patience: 30).playing(4711) { Self.leave() }
        }
        #expect(Self.seeds(Self.lines(result)) == ["4711"])
    }

    @Test("A process that is killed leaves the seeds in play in the file")
    func killed() async throws {
        let path = NSTemporaryDirectory() + "seeds-\(UUID().uuidString)"
        defer { unlink(path) }
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let watch = SeedWatch(path: path, tick: 1, patience: 30)
            watch.playing(11) {}
            watch.playing(4711) { _ = raise(SIGKILL) }
        }
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == SeedSlots.count)
        #expect(Self.seeds(lines.filter { !$0.hasPrefix(" ") }.map(String.init)) == ["4711"])
    }

    @Test("A run says how far it is, and how many seeds failed")
    func says() async throws {
        let run = SeedRun(0..<3, watch: .shared)
        let failures = try await run.play(threads: 2, isReported: false)
        #expect(failures.isEmpty)
        #expect(run.progress(after: 0.5).hasPrefix("3 of 3 seeds, 6 a second, 0 failed, "))
        #expect(run.progress(after: 0.5).hasPrefix("3 of 3 seeds, 0 a second, 0 failed, "))
    }

    /// Threads of Swift's concurrency block most signals, so another one has to take it.
    private static func end(by signal: CInt) {
        kill(getpid(), signal)
        sleep(60)
    }

    private static func trap() { preconditionFailure("as planned") }

    private static func leave() { exit(3) }

    private static func lines(_ result: ExitTest.Result?) -> [String] {
        String(decoding: result?.standardErrorContent ?? [], as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// The seeds of lines that say that one was being played.
    private static func seeds(_ lines: [String]) -> [String] {
        lines.filter { $0.contains("was being played") }.map { $0.split(separator: " ")[2].description }
    }
}
