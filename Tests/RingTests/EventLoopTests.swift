import Ring
import NIOConcurrencyHelpers
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct EventLoopTests {
    @Test func workOfOneThreadRunsInOrder() async throws {
        try await withLoop { loop in
            let log = Log()
            for number in 0..<10_000 { loop.post { log.append(number) } }
            await loop.perform {}
            #expect(log.all == Array(0..<10_000))
        }
    }

    @Test func workOfManyThreadsRunsInTheOrderOfEachThread() async throws {
        try await withLoop { loop in
            let logs = (0..<8).map { _ in Log() }
            try await onThreads(8) { thread in
                for number in 0..<5000 { loop.post { logs[thread].append(number) } }
            }
            await loop.perform {}
            for log in logs { #expect(log.all == Array(0..<5000)) }
        }
    }

    @Test func performRunsOnTheLoopAndReturnsTheResult() async throws {
        try await withLoop { loop in
            #expect(!loop.isCurrent)
            #expect(await loop.perform { loop.isCurrent })
            for number in 0..<100 { #expect(await loop.perform { number * 2 } == number * 2) }
        }
    }

    @Test func workPostedOnTheLoopRunsAfterEarlierWork() async throws {
        try await withLoop { loop in
            let log = Log()
            await loop.perform {
                loop.post { log.append(3) }
                log.append(1)
            }
            loop.post { log.append(4) }
            await loop.perform {}
            #expect(log.all == [1, 3, 4])
        }
    }

    @Test func loopsWakeEachOther() async throws {
        let one = try EventLoop(index: 0)
        let other = try EventLoop(index: 1)
        defer {
            one.stop()
            other.stop()
        }
        #expect(one.index == 0 && other.index == 1)
        let rounds = await withCheckedContinuation { continuation in
            Volley(one, other, rounds: 2000) { continuation.resume(returning: $0) }.play(0)
        }
        #expect(rounds == 2000)
    }

    @Test func stopRunsPostedWorkFirst() throws {
        for _ in 0..<50 {
            let loop = try EventLoop(index: 0)
            let log = Log()
            for number in 0..<200 {
                loop.post {
                    log.append(number)
                    loop.post { log.append(number) }
                }
            }
            loop.stop()
            #expect(log.all.count == 400)
        }
    }

    @Test func batchEndedIsCalledOnceForEachRequest() async throws {
        try await withLoop { loop in
            let counter = BatchCounter(loop)
            await loop.perform {
                loop.atBatchEnd(counter)
                loop.atBatchEnd(counter)
                counter.mustBeZero = counter.count
            }
            #expect(await loop.perform { counter.count } == 2)
            #expect(await loop.perform { counter.mustBeZero } == 0)
            await loop.perform {
                counter.asksAgain = 3
                loop.atBatchEnd(counter)
            }
            #expect(await loop.perform { counter.count } == 6)
            #expect(await loop.perform { counter.count } == 6)
        }
    }
}

/// Numbers in the order of their arrival; any thread may add one.
final class Log: Sendable {
    private let numbers = NIOLockedValueBox<[Int]>([])

    func append(_ number: Int) { numbers.withLockedValue { $0.append(number) } }
    var all: [Int] { numbers.withLockedValue { $0 } }
}

private final class Volley: Sendable {
    private let one: EventLoop
    private let other: EventLoop
    private let rounds: Int
    private let ended: @Sendable (Int) -> Void

    init(_ one: EventLoop, _ other: EventLoop, rounds: Int, ended: @escaping @Sendable (Int) -> Void) {
        (self.one, self.other, self.rounds, self.ended) = (one, other, rounds, ended)
    }

    func play(_ round: Int) {
        guard round < rounds else { return ended(round) }
        (round % 2 == 0 ? one : other).post { self.play(round + 1) }
    }
}

/// Counts the ends of batches; used on its loop's thread.
private final class BatchCounter: RingHandler, @unchecked Sendable {
    private let loop: EventLoop
    var count = 0
    var asksAgain = 0
    var mustBeZero = -1

    init(_ loop: EventLoop) { self.loop = loop }

    override func batchEnded() {
        count += 1
        guard asksAgain > 0 else { return }
        asksAgain -= 1
        loop.atBatchEnd(self)
    }
}
