import Block
import Foundation
import NIOConcurrencyHelpers
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

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

    @Test("A disk that waits for others hears at once that all are to go, that it holds them up, and that none goes")
    func waitsForOthers() async throws {
        let group = SwitchGroup(count: 2)
        _ = group.note(0, isReady: true)
        try await group.waitForOthers(0, atMost: .milliseconds(20))
        let waiting = Task { try await group.waitForOthers(0, atMost: .seconds(1000)) }
        #expect(group.note(1, isReady: true).isClosed)
        try await waiting.value

        let slow = SwitchGroup(count: 2)
        _ = slow.note(0, isReady: true)
        _ = slow.note(0, isReady: false)
        let held = Task { try await slow.waitForOthers(0, atMost: .seconds(1000)) }
        #expect(slow.note(1, isReady: true) == (isClosed: false, isAssembled: true))
        try await held.value
        // A request from before the wait does not end it: the disk has heard of that.
        #expect(slow.requestSwitch())
        try await slow.waitForOthers(1, atMost: .milliseconds(20))
        let lost = Task { try await slow.waitForOthers(1, atMost: .seconds(1000)) }
        #expect(slow.cancel())
        await #expect(throws: MigrationError.self) { try await lost.value }
        let cancelled = Task { try await SwitchGroup(count: 2).waitForOthers(1, atMost: .seconds(1000)) }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
    }

    @Test("Who waits for the next attempt hears of a cancel at once, and is not called by a switch")
    func waitsForAttempt() async throws {
        let group = SwitchGroup(count: 1)
        #expect(group.requestSwitch())
        let begun = ContinuousClock.now
        await group.waitForFailure(atMost: .milliseconds(30))
        #expect(begun.duration(to: .now) >= .milliseconds(30))
        let waiting = Task { await group.waitForFailure(atMost: .seconds(10_000)) }
        #expect(group.requestSwitch())
        #expect(group.cancel())
        await waiting.value
        await group.waitForFailure(atMost: .seconds(10_000))
        let stopped = Task { await SwitchGroup(count: 1).waitForFailure(atMost: .seconds(10_000)) }
        stopped.cancel()
        await stopped.value
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

    @Test("Disks whose node ends in doubt all hear of it, whichever came last and however late")
    func endsInDoubt() async throws {
        let word = CommitRecord {
            throw UncertainRecord(file: "word", cause: FileError("flush", "state", code: EIO))
        } erase: {
            throw UncertainRecord(file: "word", cause: FileError("flush", "state", code: EIO))
        }
        let groups = (0..<500).map { _ in SwitchGroup(count: 3) }
        let ended = NIOLockedValueBox(0)
        for group in groups {
            for disk in 0..<3 {
                let task = Task {
                    do { try await group.commit(disk, word) } catch { ended.withLockedValue { $0 += 1 } }
                }
                task.cancel()
            }
        }
        try await waitUntil("all hear of it") { ended.withLockedValue { $0 } == groups.count * 3 }
        #expect(groups.allSatisfy { $0.isInDoubt })
    }

    @Test("Whoever sees that none goes -> finds the farewell of its disk, whose answer is heard")
    func farewell() async throws {
        let node = try TestNode()
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: node.transport)
        let accepting = Task { await listener.run { _ in } }
        defer { accepting.cancel() }
        try await PeerConnection.connect(to: listener.address, on: node.transport) { connection in
            let link = SourceLink(connection: connection, rate: RateLimit(bitsPerSecond: nil))
            // As the destination answers.
            link.received(.failed(reason: "cancelled at the source"), frameLength: 0)
            link.close()
            let groups = (0..<3000).map { _ in SwitchGroup(count: 1) }
            for group in groups { try group.connect(0, over: link) }
            let watched = NIOLockedValueBox(0)
            let cancelling = Task {
                try await onThread {
                    for (number, group) in groups.enumerated() {
                        while watched.withLockedValue({ $0 }) <= number { sched_yield() }
                        _ = group.cancel()
                    }
                }
            }
            var missed = 0
            for group in groups {
                watched.withLockedValue { $0 += 1 }
                // Without a pause between this look and the question.
                while group.failure == nil {}
                if await !group.finishFarewell(of: 0) { missed += 1 }
            }
            try await cancelling.value
            #expect(missed == 0)
        }
    }

    /// How a write of the word ends that somebody gives up meanwhile.
    enum WriteEnd: CaseIterable { case written, uncertain, unchanged }

    @Test(
        "While the word is being written nobody who asks waits for that, and a cancel is heard after it",
        arguments: WriteEnd.allCases)
    func slowWord(end: WriteEnd) async throws {
        let group = SwitchGroup(count: 1)
        let (begun, mayEnd) = (NIOLockedValueBox(false), DispatchSemaphore(value: 0))
        let steps = NIOLockedValueBox<[String]>([])
        let word = CommitRecord {
            begun.withLockedValue { $0 = true }
            steps.withLockedValue { $0.append("write") }
            mayEnd.wait()
            switch end {
            case .written: break
            case .uncertain: throw UncertainRecord(file: "word", cause: FileError("flush", "state", code: EIO))
            case .unchanged: throw FileError("create", "word", code: ENOSPC)
            }
        } erase: {
            steps.withLockedValue { $0.append("erase") }
        }
        let giving = Task { try await group.commit(0, word) }
        try await waitUntil("it is being written") { begun.withLockedValue { $0 } }
        let answers = NIOLockedValueBox<(isFailed: Bool, isCancelled: Bool, isInDoubt: Bool)?>(nil)
        Thread.detachNewThread {
            let isFailed = group.fail(Failure())
            let isCancelled = group.cancel()
            let isInDoubt = group.isInDoubt && group.doubt?.isGivenUp == true && !group.isCommitted
            answers.withLockedValue { $0 = (isFailed, isCancelled, isInDoubt) }
        }
        defer { mayEnd.signal() }
        try await waitUntil("who asks is answered") { answers.withLockedValue { $0 != nil } }
        let answer = try #require(answers.withLockedValue { $0 })
        #expect(!answer.isFailed && answer.isCancelled && answer.isInDoubt)
        mayEnd.signal()
        if end == .written {
            try await giving.value
            #expect(group.isCommitted && group.failure == nil, "it comes too late")
            #expect(!group.cancel())
        } else {
            await #expect(throws: MigrationError.self) { try await giving.value }
            #expect(!group.isCommitted && group.isCancelled)
        }
        #expect(!group.isInDoubt && group.doubt == nil)
        #expect(steps.withLockedValue { $0 } == (end == .uncertain ? ["write", "erase"] : ["write"]))
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
            let word = CommitRecord {
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
