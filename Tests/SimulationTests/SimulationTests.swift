import Foundation
import TestSupport
import Testing

@Suite("The simulator")
struct SimulationTests {
    /// NEARBLOCK_SEEDS says how many seeds are played, NEARBLOCK_SEED which is the first; without it they are new each
    /// time.
    @Test("Whatever goes wrong, there is one writer, nothing is lost or invented, and the disk arrives")
    func seeds() async throws {
        let environment = ProcessInfo.processInfo.environment
        let count = environment["NEARBLOCK_SEEDS"].flatMap(UInt64.init) ?? Self.fewSeeds
        let first = environment["NEARBLOCK_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0..<1 << 40)
        say("seeds \(first) to \(first + count - 1)")
        // A short run goes beside all the other tests, which need the cores too.
        let isLong = count > Self.fewSeeds
        let run = SeedRun(first..<first + count)
        let failures = try await run.play(
            threads: isLong ? ProcessInfo.processInfo.activeProcessorCount : 1, isReported: isLong)
        say(run.summary)
        for (seed, violation) in failures.prefix(3) {
            Issue.record("seed \(seed): \(violation); replay: nbd-scripts/test simulate --seeds 1 --seed \(seed)")
        }
        #expect(failures.isEmpty, "\(failures.count) of \(count) seeds failed")
        let isTraced = environment["NEARBLOCK_TRACE"] != nil
        if count == 1 || isTraced, let seed = failures.first?.seed ?? (isTraced ? first : nil) {
            let simulation = Simulation(seed: seed, isTracing: true)
            _ = simulation.run()
            for line in simulation.world.trace { print(line) }
        }
    }

    @Test("A seed plays the same way each time")
    func deterministic() async throws {
        for seed in 0..<20 as Range<UInt64> {
            let runs = try await onThread {
                (0..<2).map { _ in
                    let simulation = Simulation(seed: seed, isTracing: true)
                    _ = simulation.run()
                    return simulation.world.trace + ["\(simulation.world.now)"]
                }
            }
            #expect(runs[0] == runs[1], "seed \(seed)")
        }
    }

    /// Objects that hold one another are never freed, and a run of many seeds ends for want of memory.
    @Test("Nothing of a simulation outlives it, however it ends")
    func freed() async throws {
        let seeds: [UInt64] = Array(0..<40)
        let ends = try await onThread { seeds.map { Self.end(of: $0, faults: $0 % 4 == 3 ? .unnamedDirt : []) } }
        for (seed, end) in zip(seeds, ends) {
            #expect(end.remaining.isEmpty, "seed \(seed)")
            #expect(end.watched > 20, "seed \(seed)")
            #expect(end.isWorldGone, "seed \(seed)")
        }
    }

    @Test("A world in which things happen for ever makes no progress")
    func livelock() {
        let world = World(seed: 1, isTracing: false, mostEvents: 1000)
        func again() { world.after(0) { again() } }
        again()
        world.run(until: 1) { false }
        #expect(world.violation?.contains("no progress") == true && world.now == 0)
        world.end()
    }

    @Test("What is broken on purpose is found", arguments: Faults.named.map(\.name))
    func finds(_ name: String) async throws {
        let fault = Faults.named.first { $0.name == name }!.fault
        let first = Faults.firstSeeds[name] ?? 0
        let most: UInt64 = 20_000
        let found = try await onThread {
            (first..<first + most).first { seed in
                SeedWatch.shared.playing(seed, fault: name) { Simulation(seed: seed, faults: fault).run() } != nil
            }
        }
        say("\(name) is found by seed \(found.map(String.init) ?? "none of \(most)")")
        #expect(found != nil, "\(name) was not found by \(most) seeds")
    }

    private static let fewSeeds: UInt64 = 600

    /// Plays a seed and tells the types of what is left of the simulation afterwards.
    private static func end(
        of seed: UInt64, faults: Faults
    ) -> (remaining: Set<String>, watched: Int, isWorldGone: Bool) {
        func play() -> World {
            let simulation = Simulation(seed: seed, faults: faults, isWatching: true)
            _ = simulation.run()
            return simulation.world
        }
        func look(_ world: World) -> (Set<String>, Int) { world.remaining }
        var world: World? = play()
        let (remaining, watched) = look(world!)
        weak let last = world
        world = nil
        return (remaining, watched, last == nil)
    }
}
