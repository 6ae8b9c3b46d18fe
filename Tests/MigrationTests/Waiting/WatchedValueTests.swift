import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Migration

@Suite("Values that are waited for", .timeLimit(.minutes(10)))
struct WatchedValueTests {
    private struct Failure: Error {}

    /// Lets a task wait for a value, and returns once it does.
    private func wait(for number: Int, _ value: WatchedValue<Int>) async throws -> Task<Void, any Error> {
        let before = value.waiting
        let task = Task { try await value.waitUnlessCancelled { $0 >= number } }
        try await waitUntil("it waits") { value.waiting == before + 1 }
        return task
    }

    @Test("The condition is met already -> nobody waits, not even a cancelled task")
    func met() async throws {
        let value = WatchedValue(1)
        await value.wait { $0 == 1 }
        #expect(await value.wait(until: { $0 == 1 }, atMost: .zero))
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            try await value.waitUnlessCancelled { $0 == 1 }
            return await value.wait(until: { $0 == 1 }, atMost: .zero)
        }
        task.cancel()
        #expect(try await task.value)
        #expect(value.waiting == 0)
    }

    @Test("Several wait -> a change wakes exactly those whose condition it meets")
    func several() async throws {
        let value = WatchedValue(0)
        let (first, second, third) = (
            try await wait(for: 1, value), try await wait(for: 2, value), try await wait(for: 3, value)
        )
        value.withLockedValue { $0 = 2 }
        #expect(value.waiting == 1)
        try await first.value
        try await second.value
        value.withLockedValue { $0 += 1 }
        try await third.value
        #expect(value.waiting == 0)
    }

    @Test("A change that throws -> what it has changed wakes all the same")
    func thrown() async throws {
        let value = WatchedValue(0)
        let task = try await wait(for: 1, value)
        #expect(throws: Failure.self) {
            try value.withLockedValue { value in
                value = 1
                throw Failure()
            }
        }
        try await task.value
    }

    @Test("Something beside the value has changed -> a recheck finds it")
    func recheck() async throws {
        let value = WatchedValue(0)
        let isClosed = NIOLockedValueBox(false)
        let task = Task { await value.wait { _ in isClosed.withLockedValue { $0 } } }
        try await waitUntil("it waits") { value.waiting == 1 }
        value.recheck()
        #expect(value.waiting == 1)
        isClosed.withLockedValue { $0 = true }
        value.recheck()
        await task.value
    }

    @Test("The time is over -> the wait ends, and nothing of it stays")
    func late() async throws {
        let value = WatchedValue(0)
        #expect(await !value.wait(until: { $0 == 1 }, atMost: .milliseconds(1)))
        #expect(await !value.wait(until: { $0 == 1 }, atMost: .zero))
        #expect(value.waiting == 0)
    }

    @Test("A task is cancelled while it waits -> it goes on, and the others still wait")
    func cancelled() async throws {
        let value = WatchedValue(0)
        let (leaving, staying) = (try await wait(for: 1, value), try await wait(for: 1, value))
        let timed = Task { await value.wait(until: { $0 == 1 }, atMost: .seconds(1000)) }
        try await waitUntil("it waits") { value.waiting == 3 }
        timed.cancel()
        leaving.cancel()
        #expect(await !timed.value)
        await #expect(throws: CancellationError.self) { try await leaving.value }
        #expect(value.waiting == 1)
        value.withLockedValue { $0 = 1 }
        try await staying.value
    }

    @Test("A cancelled task that waits regardless -> only the value ends its wait")
    func regardless() async throws {
        let value = WatchedValue(0)
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            await value.wait { $0 == 1 }
        }
        task.cancel()
        try await waitUntil("it waits") { value.waiting == 1 }
        value.withLockedValue { $0 = 1 }
        await task.value
    }

    /// Runs each job at once, on the thread that brings it.
    private final class InlineExecutor: TaskExecutor {
        func enqueue(_ job: consuming ExecutorJob) {
            UnownedJob(job).runSynchronously(on: asUnownedTaskExecutor())
        }
    }

    @Test("A task goes on within the call that wakes it -> the lock is free")
    func unlocked() async {
        let value = WatchedValue(0)
        let executor = InlineExecutor()
        let woken = Task(executorPreference: executor) {
            await value.wait { $0 == 1 }
            value.withLockedValue { $0 += 1 }
        }
        let cancelled = Task(executorPreference: executor) {
            await value.wait(until: { $0 < 0 }, atMost: .seconds(1000))
            value.withLockedValue { $0 += 1 }
        }
        #expect(value.waiting == 2)
        value.withLockedValue { $0 = 1 }
        #expect(value.withLockedValue { $0 } == 2)
        cancelled.cancel()
        #expect(value.withLockedValue { $0 } == 3)
        await woken.value
        await cancelled.value
    }

    @Test("Many tasks take turns, and others are cancelled or late -> no wake is lost")
    func contention() async throws {
        let (rounds, players) = (2_000, 8)
        let value = WatchedValue(0)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for player in 0..<players {
                tasks.addTask {
                    for round in 0..<rounds {
                        let turn = round * players + player
                        if player.isMultiple(of: 2) {
                            await value.wait { $0 == turn }
                        } else {
                            try await value.waitUnlessCancelled { $0 == turn }
                        }
                        value.withLockedValue { $0 += 1 }
                    }
                }
                // Their waits end in every way while the others go on.
                tasks.addTask {
                    for _ in 0..<rounds / 10 {
                        await value.wait(until: { $0 < 0 }, atMost: .microseconds(player * 20))
                        let lost = Task { try await value.waitUnlessCancelled { $0 < 0 } }
                        if player.isMultiple(of: 2) { await Task.yield() }
                        lost.cancel()
                        await #expect(throws: CancellationError.self) { try await lost.value }
                    }
                }
            }
            try await tasks.waitForAll()
        }
        #expect(value.withLockedValue { $0 } == rounds * players)
        #expect(value.waiting == 0)
    }

    @Test("A condition that a change meets just when time is over -> the wait ends once, in one of both ways")
    func race() async throws {
        for step in 0..<500 {
            let value = WatchedValue(0)
            async let isMet = value.wait(until: { $0 == 1 }, atMost: .microseconds(step))
            try? await Task.sleep(for: .microseconds(step))
            value.withLockedValue { $0 = 1 }
            _ = await isMet
            #expect(value.waiting == 0)
        }
    }
}
