import Foundation
import Ring
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct BufferPoolTests {
    @Test func noMoreIsOutThanTheLimit() async throws {
        try await withPool(limit: 64 << 10, kept: 0) { loop, pool in
            await loop.perform {
                let buffers = (0..<16).map { _ in pool.take(4096) }
                #expect(buffers.allSatisfy { $0 != nil } && Set(buffers).count == 16)
                #expect(pool.used == 64 << 10)
                #expect(pool.take(1) == nil)
                for buffer in buffers { pool.give(buffer!, 4096) }
                #expect(pool.used == 0)
                let whole = pool.take(64 << 10)
                #expect(whole != nil && pool.take(1) == nil)
                pool.give(whole!, 64 << 10)
            }
        }
    }

    @Test func buffersAreAlignedToPagesAndHoldWhatTheyWereTakenFor() async throws {
        try await withPool(limit: 1 << 20, kept: 1 << 20) { loop, pool in
            await loop.perform {
                for count in [1, 4095, 4096, 4097, 8192, 8193, 300_000, 1 << 20] {
                    let buffer = pool.take(count)!
                    #expect(UInt(bitPattern: buffer) % 4096 == 0)
                    #expect(pool.used >= count && pool.used < 2 * max(count, 4096))
                    memset(buffer, 0xab, count)
                    pool.give(buffer, count)
                }
            }
        }
    }

    @Test func whatIsGivenBackIsTakenAgain() async throws {
        try await withPool(limit: 1 << 20, kept: 8192) { loop, pool in
            await loop.perform {
                let first = pool.take(8000)!
                pool.give(first, 8000)
                // Freed memory would likely end up here.
                var thief: UnsafeMutableRawPointer?
                posix_memalign(&thief, 4096, 8192)
                let second = pool.take(5000)!
                #expect(first == second && thief != second)
                pool.give(second, 5000)
                free(thief)
            }
        }
    }

    @Test func whoWaitsIsServedInTheOrderOfAsking() async throws {
        try await withPool(limit: 16 << 10, kept: 0) { loop, pool in
            let log = Log()
            let waiters = (0..<4).map { Waiter($0, wants: 8192, of: pool, log) }
            let (one, other) = await loop.perform {
                let taken = (Taken(pool.take(8192)!), Taken(pool.take(8192)!))
                for waiter in waiters { pool.whenAvailable(waiter) }
                return taken
            }
            await loop.perform { pool.give(one.buffer, 8192) }
            await loop.perform {}
            #expect(log.all == [0])
            await loop.perform {
                pool.give(other.buffer, 8192)
                pool.give(waiters[0].buffer!, 8192)
                // Room there is, but others came first.
                #expect(pool.take(1) == nil)
            }
            await loop.perform {}
            #expect(log.all == [0, 1, 2])
            await loop.perform {
                pool.give(waiters[1].buffer!, 8192)
                pool.give(waiters[2].buffer!, 8192)
            }
            await loop.perform {}
            #expect(log.all == [0, 1, 2, 3])
            await loop.perform { pool.give(waiters[3].buffer!, 8192) }
        }
    }

    @Test func aLargeWaiterIsNotOvertakenBySmallOnes() async throws {
        try await withPool(limit: 16 << 10, kept: 0) { loop, pool in
            let log = Log()
            let large = Waiter(0, wants: 16 << 10, of: pool, log)
            let small = Waiter(1, wants: 4096, of: pool, log)
            let (one, other) = await loop.perform {
                let taken = (Taken(pool.take(8192)!), Taken(pool.take(8192)!))
                pool.whenAvailable(large)
                pool.whenAvailable(small)
                return taken
            }
            await loop.perform { pool.give(one.buffer, 8192) }
            await loop.perform {}
            #expect(log.all == [])
            await loop.perform { pool.give(other.buffer, 8192) }
            await loop.perform {}
            #expect(log.all == [0])
            await loop.perform { pool.give(large.buffer!, 16 << 10) }
            await loop.perform { pool.give(small.buffer!, 4096) }
            #expect(log.all == [0, 1])
        }
    }

    @Test func whoIsForgottenIsNotTold() async throws {
        try await withPool(limit: 4096, kept: 0) { loop, pool in
            let log = Log()
            let waiters = (0..<3).map { Waiter($0, wants: 4096, of: pool, log) }
            await loop.perform {
                let buffer = pool.take(1)!
                for waiter in waiters { pool.whenAvailable(waiter) }
                pool.forget(waiters[0])
                pool.forget(waiters[0])
                pool.give(buffer, 1)
            }
            await loop.perform {}
            #expect(log.all == [1])
            await loop.perform {
                pool.forget(waiters[2])
                pool.give(waiters[1].buffer!, 4096)
            }
            await loop.perform { pool.give(pool.take(1)!, 1) }
            #expect(log.all == [1])
        }
    }

    @Test func whoIsBehindSomebodyThatLeavesTheLineIsTold() async throws {
        try await withPool(limit: 16 << 10, kept: 0) { loop, pool in
            let log = Log()
            let large = Waiter(0, wants: 16 << 10, of: pool, log)
            let small = Waiter(1, wants: 4096, of: pool, log)
            let held = await loop.perform {
                let held = Taken(pool.take(8192)!)
                pool.whenAvailable(large)
                pool.whenAvailable(small)
                return held
            }
            await loop.perform { pool.forget(large) }
            await loop.perform {}
            #expect(log.all == [1])
            await loop.perform {
                pool.give(held.buffer, 8192)
                pool.give(small.buffer!, 4096)
            }
        }
    }

    @Test func takersOfMuchLeaveTheFirstShareToTakersOfLittle() async throws {
        try await withLoop { loop in
            let pool = BufferPool(loop: loop, limits: [8192, 16384], kept: 0)
            let log = Log()
            let large = Waiter(0, wants: 16 << 10, of: pool, log, share: 1)
            let small = Waiter(1, wants: 8192, of: pool, log)
            let held = await loop.perform {
                let much = pool.take(16384, from: 1)!
                #expect(much.share == 1 && pool.take(4096, from: 1) == nil)
                let little = pool.take(8192, from: 0)!
                #expect(little.share == 0 && pool.take(4096, from: 0) == nil && pool.used == pool.limit)
                pool.whenAvailable(large, share: 1)
                pool.whenAvailable(small)
                return (Taken(much.buffer), Taken(little.buffer))
            }
            await loop.perform { pool.give(held.1.buffer, 8192) }
            await loop.perform {}
            #expect(log.all == [1])
            await loop.perform {
                pool.give(held.0.buffer, 16384, share: 1)
                // Somebody waits for that.
                #expect(pool.take(4096, from: 0) == nil)
            }
            await loop.perform {}
            #expect(log.all == [1, 0])
            await loop.perform {
                pool.give(small.buffer!, 8192)
                pool.give(large.buffer!, 16 << 10, share: 1)
                // Nobody does: takers of little may have all.
                let taken = [pool.take(8192, from: 0)!, pool.take(8192, from: 0)!, pool.take(8192, from: 0)!]
                #expect(taken.map(\.share) == [0, 1, 1] && pool.take(1, from: 0) == nil)
                for each in taken { pool.give(each.buffer, 8192, share: each.share) }
                #expect(pool.used == 0)
            }
        }
    }

    @Test func behavesAsItsModelWhateverIsAsked() async throws {
        var random = Seeded.fresh()
        for _ in 0..<20 {
            let limit = 4096 << Int.random(in: 0...6, using: &random)
            let kept = Int.random(in: 0...2 * limit, using: &random)
            let seed = random.next()
            try await withPool(limit: limit, kept: kept) { loop, pool in
                let game = PoolGame(pool: pool, seed: seed)
                for step in 0..<500 {
                    await loop.perform { game.step() }
                    // The end of that batch lies between the two.
                    let difference = await loop.perform { game.difference() }
                    #expect(difference == nil, "step \(step) of game \(seed)")
                    if difference != nil { break }
                }
                await loop.perform { game.end() }
                // Who has left the line has others told at the end of the batch, and the pool has to be there.
                await loop.perform {}
            }
        }
    }

    private func withPool(
        limit: Int, kept: Int, _ body: (EventLoop, BufferPool) async throws -> Void
    ) async throws {
        try await withLoop { loop in
            try await body(loop, BufferPool(loop: loop, limit: limit, kept: kept))
        }
    }
}

/// Used on one loop's thread only.
extension BufferPool: @unchecked Sendable {}

private struct Taken: @unchecked Sendable {
    let buffer: UnsafeMutableRawPointer

    init(_ buffer: UnsafeMutableRawPointer) { self.buffer = buffer }
}

/// Stands in the line of a pool until it has a buffer.
private final class Waiter: RingHandler, @unchecked Sendable {
    private let number: Int
    private let wanted: Int
    private let pool: BufferPool
    private let log: Log
    private let share: Int
    private(set) var buffer: UnsafeMutableRawPointer?

    init(_ number: Int, wants wanted: Int, of pool: BufferPool, _ log: Log, share: Int = 0) {
        (self.number, self.wanted, self.pool, self.log, self.share) = (number, wanted, pool, log, share)
    }

    override func bufferMayBeAvailable() -> Bool {
        guard let buffer = pool.takeAhead(wanted, share: share) else { return false }
        self.buffer = buffer
        log.append(number)
        return true
    }
}

/// Plays at random with a pool, and beside it with what a pool ought to be.
private final class PoolGame: @unchecked Sendable {
    private let pool: BufferPool
    private var random: Seeded
    private let log = Log()
    private var held: [(buffer: UnsafeMutableRawPointer, count: Int)] = []
    private var waiters: [Int: (waiter: Waiter, count: Int)] = [:]
    private var nextNumber = 0
    private var failure: String?

    // The model.
    private var used = 0
    private var line: [Int] = []
    private var served: [Int] = []

    init(pool: BufferPool, seed: UInt64) {
        self.pool = pool
        random = Seeded(seed)
    }

    func step() {
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<4: take()
        case 4..<8: give()
        case 8 where !line.isEmpty: forget()
        default: wait()
        }
    }

    /// What is not as the model says.
    func difference() -> String? {
        for number in log.all.dropFirst(served.count - pendingCount) {
            guard let (waiter, count) = waiters.removeValue(forKey: number) else { continue }
            held.append((waiter.buffer!, count))
        }
        if let failure { return failure }
        if log.all != served { return "served \(log.all.suffix(5)), not \(served.suffix(5))" }
        return pool.used == used ? nil : "\(pool.used) bytes are out, not \(used)"
    }

    func end() {
        for number in line { pool.forget(waiters[number]!.waiter) }
        for (buffer, count) in held { pool.give(buffer, count) }
        held = []
    }

    private var pendingCount: Int { served.filter { waiters[$0] != nil }.count }

    private func take() {
        let count = Int.random(in: 1...pool.limit, using: &random)
        let expected = line.isEmpty && fits(count)
        let buffer = pool.take(count)
        if (buffer != nil) != expected { failure = "take(\(count)) with \(used) out" }
        guard let buffer else { return }
        memset(buffer, 0xcd, count)
        held.append((buffer, count))
        used += size(count)
    }

    private func give() {
        guard !held.isEmpty else { return }
        let (buffer, count) = held.remove(at: Int.random(in: 0..<held.count, using: &random))
        pool.give(buffer, count)
        used -= size(count)
        while let first = line.first, fits(waiters[first]!.count) {
            line.removeFirst()
            served.append(first)
            used += size(waiters[first]!.count)
        }
    }

    /// Only who does not get a buffer at once stands in line.
    private func wait() {
        let count = Int.random(in: 1...pool.limit, using: &random)
        guard !line.isEmpty || !fits(count) else { return }
        let waiter = Waiter(nextNumber, wants: count, of: pool, log)
        waiters[nextNumber] = (waiter, count)
        line.append(nextNumber)
        nextNumber += 1
        pool.whenAvailable(waiter)
    }

    /// Never the first in line: whoever stands behind it would have to be told, and that is `give`'s part.
    private func forget() {
        guard line.count > 1 else { return }
        let number = line.remove(at: Int.random(in: 1..<line.count, using: &random))
        pool.forget(waiters.removeValue(forKey: number)!.waiter)
    }

    private func fits(_ count: Int) -> Bool { used + size(count) <= pool.limit }

    private func size(_ count: Int) -> Int {
        var size = 4096
        while size < count { size *= 2 }
        return size
    }
}
