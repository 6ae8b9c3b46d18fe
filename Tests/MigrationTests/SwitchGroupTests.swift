import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Migration

@Suite("Disks that meet", .timeLimit(.minutes(10)))
struct SwitchGroupTests {
    private struct Failure: Error {}

    /// What the disks have seen of each other.
    private struct Seen {
        var fenced = 0
        var prepared = 0
        var hasWord = false
    }

    @Test("Who waits for a switch hears of it at once, of a failure too, and waits no longer than it is told to")
    func waits() async throws {
        let wanted = SwitchGroup(count: 1)
        try await wanted.waitForSwitch(atMost: .milliseconds(20))
        let waiting = Task { try await wanted.waitForSwitch(atMost: .seconds(100)) }
        #expect(wanted.requestSwitch())
        try await waiting.value
        try await wanted.waitForSwitch(atMost: .seconds(100))
        let failing = SwitchGroup(count: 1)
        let lost = Task { try await failing.waitForSwitch(atMost: .seconds(100)) }
        #expect(failing.cancel())
        await #expect(throws: MigrationError.self) { try await lost.value }
        await #expect(throws: MigrationError.self) { try await failing.waitForSwitch(atMost: .seconds(100)) }
    }

    @Test("Nobody leaves a meeting before all have come, or after one has failed", arguments: [1, 2, 3, 8])
    func meetings(count: Int) async throws {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            let group = SwitchGroup(count: count)
            let seen = NIOLockedValueBox(Seen())
            let failing = Int.random(in: 0..<4 * count, using: &random)
            let outcomes = await withTaskGroup(of: Bool.self) { tasks in
                for disk in 0..<count {
                    let pauses = (0..<3).map { _ in Int.random(in: 0...3, using: &random) }
                    tasks.addTask { await self.run(disk, group, seen, pauses, fails: failing == disk) }
                }
                return await tasks.reduce(into: [Bool]()) { $0.append($1) }
            }
            #expect(Set(outcomes).count == 1, "all or none")
            #expect(outcomes[0] == seen.withLockedValue { $0.hasWord })
            #expect(outcomes[0] == (failing >= count))
            let isHeard = group.cancel()
            #expect(isHeard != outcomes[0], "what is given away does not come back")
        }
    }

    /// - Returns: whether the disk has been given away.
    private func run(
        _ disk: Int, _ group: SwitchGroup, _ seen: NIOLockedValueBox<Seen>, _ pauses: [Int], fails: Bool
    ) async -> Bool {
        do {
            for _ in 0..<pauses[0] { await Task.yield() }
            try await group.meetBeforeFence(disk)
            seen.withLockedValue { $0.fenced += 1 }
            for _ in 0..<pauses[1] { await Task.yield() }
            if fails { throw Failure() }
            seen.withLockedValue { $0.prepared += 1 }
            let word = CommitWord {
                #expect(seen.withLockedValue { $0.prepared } == group.count)
                seen.withLockedValue { $0.hasWord = true }
            } erase: {
                Issue.record("nothing is in doubt")
            }
            try await group.commit(disk, word)
            #expect(seen.withLockedValue { $0.hasWord }, "nobody goes before the word")
            return true
        } catch {
            group.fail(error)
            return false
        }
    }
}
