import Foundation
import Glibc
import NIOConcurrencyHelpers
import Synchronization
import TestSupport

/// Plays a range of seeds on a number of threads.
final class SeedRun: Sendable {
    private let seeds: Range<UInt64>
    private let watch: SeedWatch
    private let begun = Atomic<UInt64>(0)
    private let done = Atomic<UInt64>(0)
    private let reported = Atomic<UInt64>(0)
    private let longest = NIOLockedValueBox((seed: 0 as UInt64, events: 0))
    private let failures = NIOLockedValueBox<[(seed: UInt64, violation: String)]>([])

    init(_ seeds: Range<UInt64>, watch: SeedWatch = .shared) {
        self.seeds = seeds
        self.watch = watch
    }

    /// Plays each seed once.
    /// - Returns: the seeds that failed and what they violated, in order.
    func play(threads: Int, isReported: Bool) async throws -> [(seed: UInt64, violation: String)] {
        if isReported { watch.report(self) }
        defer { if isReported { watch.report(nil) } }
        try await onThreads(threads) { [self] _ in
            while let seed = next() {
                let (violation, events) = watch.playing(seed) {
                    let simulation = Simulation(seed: seed)
                    return (simulation.run(), simulation.world.happened)
                }
                longest.withLockedValue { if events > $0.events { $0 = (seed, events) } }
                if let violation { failed(seed, violation) }
                done.add(1, ordering: .relaxed)
            }
        }
        return failures.withLockedValue { $0.sorted { $0.seed < $1.seed } }
    }

    private func next() -> UInt64? {
        let index = begun.add(1, ordering: .relaxed).oldValue
        return index < seeds.count ? seeds.lowerBound + index : nil
    }

    private func failed(_ seed: UInt64, _ violation: String) {
        let isFirst = failures.withLockedValue {
            $0.append((seed, violation))
            return $0.count == 1
        }
        if isFirst { say("seed \(seed): \(violation)") }
    }

    /// How the run went.
    var summary: String {
        let (seed, events) = longest.withLockedValue { $0 }
        let failed = failures.withLockedValue { $0.count }
        return "\(done.load(ordering: .relaxed)) seeds played to the end, \(failed) failed; "
            + "most has happened in seed \(seed), \(events) events"
    }

    /// How far the run is.
    /// - Parameter seconds: since it was last asked.
    func progress(after seconds: Double) -> String {
        let done = done.load(ordering: .relaxed)
        let rate = Double(done - reported.exchange(done, ordering: .relaxed)) / seconds
        let failed = failures.withLockedValue { $0.count }
        return
            "\(done) of \(seeds.count) seeds, \(Int(rate)) a second, \(failed) failed, \(Self.megabytes) MB of memory"
    }

    /// What the process has in memory.
    private static var megabytes: Int {
        let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE)) / 1_000_000 : 0
    }
}
