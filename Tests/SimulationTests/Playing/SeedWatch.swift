import Foundation
import Glibc
import NIOConcurrencyHelpers

/// Watches the seeds that are being played. A seed that does not end is named, and ends the process; so is each seed in
/// play when the process ends for another reason.
final class SeedWatch: Sendable {
    /// The process's own. NEARBLOCK_SEEDS_IN_PLAY names the file that keeps the seeds in play when the process is killed.
    static let shared = SeedWatch(
        path: ProcessInfo.processInfo.environment["NEARBLOCK_SEEDS_IN_PLAY"], tick: 1, patience: 30)

    private let slots: SeedSlots
    private let tick: Double
    private let run = NIOLockedValueBox<SeedRun?>(nil)

    /// - Parameters:
    ///   - tick: seconds between two looks.
    ///   - patience: ticks after which a seed that is still being played is named; after twice as many the process ends.
    init(path: String?, tick: Double, patience: Int) {
        slots = SeedSlots(path: path)
        self.tick = tick
        LastWords.begin(slots)
        Thread { [self] in watch(StallDetector(slots: SeedSlots.count, patience: patience)) }.start()
    }

    /// Plays a seed under the watch's eyes.
    /// - Parameter fault: the name of what is broken on purpose.
    func playing<Value>(_ seed: UInt64, fault: String? = nil, _ body: () -> Value) -> Value {
        let slot = slots.begin(seed, fault)
        defer { slots.end(slot) }
        return body()
    }

    /// Says every 10 ticks how far a run is; nil for no run.
    func report(_ run: SeedRun?) { self.run.withLockedValue { $0 = run } }

    private func watch(_ detector: StallDetector) {
        var detector = detector
        var ticks = 0
        while true {
            usleep(UInt32(tick * 1_000_000))
            ticks += 1
            let stalls = detector.tick((0..<SeedSlots.count).map(slots.turns))
            for stall in stalls {
                guard let line = slots.line(stall.slot) else { continue }
                let text = String(decoding: line, as: UTF8.self)
                say("no end after \(Double(stall.ticks) * tick) s. \(text.dropFirst("simulation: ".count))")
                // Nothing interrupts a thread that plays.
                if stall.isHopeless { _exit(EXIT_FAILURE) }
            }
            if ticks % 10 == 0, let run = run.withLockedValue({ $0 }) { say(run.progress(after: 10 * tick)) }
        }
    }
}
