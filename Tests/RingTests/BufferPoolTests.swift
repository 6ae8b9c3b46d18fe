import Foundation
import Ring
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct BufferPoolTests {
    @Test func allocationsBeyondTheLimitFail() async throws {
        try await withPool(limit: 64 << 10, kept: 0) { loop, pool in
            await loop.perform {
                let buffers = (0..<16).map { _ in pool.allocate(4096) }
                #expect(buffers.allSatisfy { $0 != nil } && Set(buffers).count == 16)
                #expect(pool.used == 64 << 10)
                #expect(pool.allocate(1) == nil)
                for buffer in buffers { pool.free(buffer!, 4096) }
                #expect(pool.used == 0)
                let whole = pool.allocate(64 << 10)
                #expect(whole != nil && pool.allocate(1) == nil)
                pool.free(whole!, 64 << 10)
            }
        }
    }

    @Test func buffersOfAnySizeAreAlignedAndLargeEnough() async throws {
        try await withPool(limit: 1 << 20, kept: 1 << 20) { loop, pool in
            await loop.perform {
                for count in [1, 4095, 4096, 4097, 8192, 8193, 300_000, 1 << 20] {
                    let buffer = pool.allocate(count)!
                    #expect(UInt(bitPattern: buffer) % 4096 == 0)
                    #expect(pool.used >= count && pool.used < 2 * max(count, 4096))
                    memset(buffer, 0xab, count)
                    pool.free(buffer, count)
                }
            }
        }
    }

    @Test func freedBuffersAreReused() async throws {
        try await withPool(limit: 1 << 20, kept: 8192) { loop, pool in
            await loop.perform {
                let first = pool.allocate(8000)!
                pool.free(first, 8000)
                // The allocator would probably reuse freed memory here.
                var thief: UnsafeMutableRawPointer?
                posix_memalign(&thief, 4096, 8192)
                let second = pool.allocate(5000)!
                #expect(first == second && thief != second)
                pool.free(second, 5000)
                free(thief)
            }
        }
    }

    @Test func waitersAreServedInOrder() async throws {
        try await withPool(limit: 16 << 10, kept: 0) { loop, pool in
            let log = Log()
            let waiters = (0..<4).map { Waiter($0, wants: 8192, of: pool, log) }
            let (one, other) = await loop.perform {
                let taken = (Taken(pool.allocate(8192)!), Taken(pool.allocate(8192)!))
                for waiter in waiters { pool.whenAvailable(waiter) }
                return taken
            }
            await loop.perform { pool.free(one.buffer, 8192) }
            await loop.perform {}
            #expect(log.all == [0])
            await loop.perform {
                pool.free(other.buffer, 8192)
                pool.free(waiters[0].buffer!, 8192)
                // There is room, but a waiter has precedence.
                #expect(pool.allocate(1) == nil)
            }
            await loop.perform {}
            #expect(log.all == [0, 1, 2])
            await loop.perform {
                pool.free(waiters[1].buffer!, 8192)
                pool.free(waiters[2].buffer!, 8192)
            }
            await loop.perform {}
            #expect(log.all == [0, 1, 2, 3])
            await loop.perform { pool.free(waiters[3].buffer!, 8192) }
        }
    }

    @Test func smallWaitersDoNotOvertakeALargeOne() async throws {
        try await withPool(limit: 16 << 10, kept: 0) { loop, pool in
            let log = Log()
            let large = Waiter(0, wants: 16 << 10, of: pool, log)
            let small = Waiter(1, wants: 4096, of: pool, log)
            let (one, other) = await loop.perform {
                let taken = (Taken(pool.allocate(8192)!), Taken(pool.allocate(8192)!))
                pool.whenAvailable(large)
                pool.whenAvailable(small)
                return taken
            }
            await loop.perform { pool.free(one.buffer, 8192) }
            await loop.perform {}
            #expect(log.all == [])
            await loop.perform { pool.free(other.buffer, 8192) }
            await loop.perform {}
            #expect(log.all == [0])
            await loop.perform { pool.free(large.buffer!, 16 << 10) }
            await loop.perform { pool.free(small.buffer!, 4096) }
            #expect(log.all == [0, 1])
        }
    }

    @Test func aForgottenWaiterIsNotCalled() async throws {
        try await withPool(limit: 4096, kept: 0) { loop, pool in
            let log = Log()
            let waiters = (0..<3).map { Waiter($0, wants: 4096, of: pool, log) }
            await loop.perform {
                let buffer = pool.allocate(1)!
                for waiter in waiters { pool.whenAvailable(waiter) }
                pool.forget(waiters[0])
                pool.forget(waiters[0])
                pool.free(buffer, 1)
            }
            await loop.perform {}
            #expect(log.all == [1])
            await loop.perform {
                pool.forget(waiters[2])
                pool.free(waiters[1].buffer!, 4096)
            }
            await loop.perform { pool.free(pool.allocate(1)!, 1) }
            #expect(log.all == [1])
        }
    }

    @Test func aWaiterThatLeavesTheLineCausesACallOfTheNext() async throws {
        try await withPool(limit: 16 << 10, kept: 0) { loop, pool in
            let log = Log()
            let large = Waiter(0, wants: 16 << 10, of: pool, log)
            let small = Waiter(1, wants: 4096, of: pool, log)
            let held = await loop.perform {
                let held = Taken(pool.allocate(8192)!)
                pool.whenAvailable(large)
                pool.whenAvailable(small)
                return held
            }
            await loop.perform { pool.forget(large) }
            await loop.perform {}
            #expect(log.all == [1])
            await loop.perform {
                pool.free(held.buffer, 8192)
                pool.free(small.buffer!, 4096)
            }
        }
    }

    @Test func allocationsOfTheLastShareLeaveTheFirstShareFree() async throws {
        try await withLoop { loop in
            let pool = BufferPool(loop: loop, limits: [8192, 16384], kept: 0)
            let log = Log()
            let large = Waiter(0, wants: 16 << 10, of: pool, log, share: 1)
            let small = Waiter(1, wants: 8192, of: pool, log)
            let held = await loop.perform {
                let much = pool.allocate(16384, from: 1)!
                #expect(much.share == 1 && pool.allocate(4096, from: 1) == nil)
                let little = pool.allocate(8192, from: 0)!
                #expect(little.share == 0 && pool.allocate(4096, from: 0) == nil && pool.used == pool.limit)
                pool.whenAvailable(large, share: 1)
                pool.whenAvailable(small)
                return (Taken(much.buffer), Taken(little.buffer))
            }
            await loop.perform { pool.free(held.1.buffer, 8192) }
            await loop.perform {}
            #expect(log.all == [1])
            await loop.perform {
                pool.free(held.0.buffer, 16384, share: 1)
                // A handler waits for the room that is left.
                #expect(pool.allocate(4096, from: 0) == nil)
            }
            await loop.perform {}
            #expect(log.all == [1, 0])
            await loop.perform {
                pool.free(small.buffer!, 8192)
                pool.free(large.buffer!, 16 << 10, share: 1)
                // No handler waits, so allocations of the first share may use all of the pool.
                let taken = [
                    pool.allocate(8192, from: 0)!, pool.allocate(8192, from: 0)!, pool.allocate(8192, from: 0)!,
                ]
                #expect(taken.map(\.share) == [0, 1, 1] && pool.allocate(1, from: 0) == nil)
                for each in taken { pool.free(each.buffer, 8192, share: each.share) }
                #expect(pool.used == 0)
            }
        }
    }

    @Test func aWaiterOfTheFirstShareGetsRoomOfALaterOneBeforeNewcomers() async throws {
        try await withLoop { loop in
            let pool = BufferPool(loop: loop, limits: [4096, 4096, 4096], kept: 0)
            let log = Log()
            let waiters = (0..<2).map { Waiter($0, wants: 4096, of: pool, log) }
            let held = await loop.perform {
                let held = (0..<3).map { Taken(pool.allocate(4096, from: $0)!.buffer) }
                for waiter in waiters { pool.whenAvailable(waiter) }
                return held
            }
            for share in [2, 1] {
                await loop.perform {
                    pool.free(held[share].buffer, 4096, share: share)
                    #expect(pool.allocate(1, from: 0) == nil)
                }
                await loop.perform {}
            }
            #expect(log.all == [0, 1] && waiters.map(\.takenShare) == [2, 1])
            await loop.perform {
                pool.free(held[0].buffer, 4096)
                for waiter in waiters {
                    if let buffer = waiter.buffer { pool.free(buffer, 4096, share: waiter.takenShare) }
                }
                #expect(pool.used == 0)
            }
        }
    }

    @Test func roomOfAShareWithAnEmptyLineGoesToEarlierLines() async throws {
        try await withLoop { loop in
            let pool = BufferPool(loop: loop, limits: [4096, 8192], kept: 0)
            let log = Log()
            let large = Waiter(0, wants: 8192, of: pool, log, share: 1)
            let small = Waiter(1, wants: 4096, of: pool, log)
            let held = await loop.perform {
                let held = (0..<2).map { Taken(pool.allocate(4096, from: $0)!.buffer) }
                pool.whenAvailable(large, share: 1)
                pool.whenAvailable(small)
                #expect(pool.isShort(0) && pool.isShort(1))
                pool.forget(large)
                #expect(pool.isShort(0) && !pool.isShort(1))
                return held
            }
            await loop.perform {}
            #expect(log.all == [1] && small.takenShare == 1)
            await loop.perform {
                #expect(!pool.isShort)
                for share in 0..<2 { pool.free(held[share].buffer, 4096, share: share) }
                if let buffer = small.buffer { pool.free(buffer, 4096, share: 1) }
            }
        }
    }

    @Test func randomStepsAgreeWithTheModel() async throws {
        var random = Seeded.fresh()
        for number in 0..<40 {
            let limits = (0...number % 4).map { _ in 4096 << Int.random(in: 0...6, using: &random) }
            let kept = Int.random(in: 0...2 * limits.max()!, using: &random)
            let seed = random.next()
            try await withLoop { loop in
                let pool = BufferPool(loop: loop, limits: limits, kept: kept)
                let game = PoolGame(pool: pool, limits: limits, seed: seed)
                for step in 0..<500 {
                    await loop.perform { game.step() }
                    // The batch ends between the two calls.
                    let difference = await loop.perform { game.difference() }
                    #expect(difference == nil, "step \(step) of game \(seed), shares of \(limits)")
                    if difference != nil { break }
                }
                await loop.perform { game.end() }
                // A handler that leaves its line causes a callback at the end of the batch, which needs the pool.
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

/// The tests use a pool only on its loop's thread.
extension BufferPool: @unchecked Sendable {
    /// Allocates from any share, as a newcomer of the first.
    fileprivate func allocate(_ count: Int) -> UnsafeMutableRawPointer? { allocate(count, from: 0)?.buffer }
}

private struct Taken: @unchecked Sendable {
    let buffer: UnsafeMutableRawPointer

    init(_ buffer: UnsafeMutableRawPointer) { self.buffer = buffer }
}

/// A handler that waits in a pool's line until it has a buffer.
private final class Waiter: RingHandler, @unchecked Sendable {
    private let number: Int
    private let wanted: Int
    private let pool: BufferPool
    private let log: Log
    private let share: Int
    private(set) var buffer: UnsafeMutableRawPointer?
    /// The share of `buffer`.
    private(set) var takenShare = 0

    init(_ number: Int, wants wanted: Int, of pool: BufferPool, _ log: Log, share: Int = 0) {
        (self.number, self.wanted, self.pool, self.log, self.share) = (number, wanted, pool, log, share)
    }

    override func bufferMayBeAvailable() -> Bool {
        guard let (buffer, share) = pool.allocateInTurn(wanted, from: share) else { return false }
        self.buffer = buffer
        takenShare = share
        log.append(number)
        return true
    }
}

/// Uses a pool at random and compares it with a model.
///
/// The model's rule: a share's room goes to its own line first, then to the lines before it, and within a line in
/// order. A newcomer gets room that nobody waits for, and none before the handlers in its own line.
private final class PoolGame: @unchecked Sendable {
    private struct Held {
        let buffer: UnsafeMutableRawPointer
        let count: Int
        let share: Int
    }

    private let pool: BufferPool
    private let limits: [Int]
    private var random: Seeded
    private let log = Log()
    private var held: [Held] = []
    private var waiters: [Int: (waiter: Waiter, count: Int)] = [:]
    private var nextNumber = 0
    private var failure: String?

    // The model.
    private var used: [Int]
    private var lines: [[Int]]
    private var served: [(number: Int, share: Int)] = []

    init(pool: BufferPool, limits: [Int], seed: UInt64) {
        self.pool = pool
        self.limits = limits
        used = limits.map { _ in 0 }
        lines = limits.map { _ in [] }
        random = Seeded(seed)
    }

    /// Several steps may happen in one batch.
    func step() {
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4: take()
            case 4..<7: give()
            case 7: forget()
            default: wait()
            }
        }
        serve()
    }

    /// Describes the first difference from the model; nil if there is none.
    func difference() -> String? {
        if let failure { return failure }
        if log.all != served.map(\.number) {
            return "served \(log.all.suffix(5)), not \(served.suffix(5))"
        }
        for (number, share) in served {
            guard let (waiter, count) = waiters.removeValue(forKey: number) else { continue }
            held.append(Held(buffer: waiter.buffer!, count: count, share: waiter.takenShare))
            if waiter.takenShare != share { return "\(number) has room of share \(waiter.takenShare), not of \(share)" }
        }
        for share in lines.indices where pool.isShort(share) == lines[share].isEmpty {
            return "isShort(\(share)) is \(pool.isShort(share))"
        }
        if pool.isShort == lines.allSatisfy(\.isEmpty) { return "isShort is \(pool.isShort)" }
        if pool.isShortForOthers != pool.isShort { return "isShortForOthers is \(pool.isShortForOthers)" }
        let sum = used.reduce(0, +)
        return pool.used == sum ? nil : "\(pool.used) bytes are out, not \(sum)"
    }

    func end() {
        for (waiter, _) in waiters.values { pool.forget(waiter) }
        for each in held { pool.free(each.buffer, each.count, share: each.share) }
        held = []
    }

    private func take() {
        let (count, first) = wish()
        let expected = lines[first].isEmpty ? share(for: count, from: first) : nil
        let taken = pool.allocate(count, from: first)
        if taken?.share != expected {
            let got = taken.map { "\($0.share)" } ?? "none"
            failure = "take(\(count), from: \(first)) gave \(got) with \(used) out and \(lines) waiting"
        }
        guard let taken else { return }
        memset(taken.buffer, 0xcd, count)
        held.append(Held(buffer: taken.buffer, count: count, share: taken.share))
        used[taken.share] += size(count)
    }

    private func give() {
        guard !held.isEmpty else { return }
        let each = held.remove(at: Int.random(in: 0..<held.count, using: &random))
        pool.free(each.buffer, each.count, share: each.share)
        used[each.share] -= size(each.count)
    }

    /// Only a handler that gets no buffer at once joins a line.
    private func wait() {
        let (count, first) = wish()
        guard !lines[first].isEmpty || share(for: count, from: first) == nil else { return }
        let waiter = Waiter(nextNumber, wants: count, of: pool, log, share: first)
        waiters[nextNumber] = (waiter, count)
        lines[first].append(nextNumber)
        nextNumber += 1
        pool.whenAvailable(waiter, share: first)
    }

    private func forget() {
        guard let number = lines.joined().randomElement(using: &random) else { return }
        for share in lines.indices { lines[share].removeAll { $0 == number } }
        pool.forget(waiters.removeValue(forKey: number)!.waiter)
    }

    private func serve() {
        for first in lines.indices.reversed() {
            while let number = lines[first].first, let share = share(for: waiters[number]!.count, from: first) {
                lines[first].removeFirst()
                served.append((number, share))
                used[share] += size(waiters[number]!.count)
            }
        }
    }

    /// A random number of bytes, and the first share that they may come from.
    private func wish() -> (count: Int, first: Int) {
        let first = Int.random(in: limits.indices, using: &random)
        return (Int.random(in: 1...limits[first], using: &random), first)
    }

    private func share(for count: Int, from first: Int) -> Int? {
        limits.indices.dropFirst(first).first { share in
            (share == first || lines[share].isEmpty) && used[share] + size(count) <= limits[share]
        }
    }

    private func size(_ count: Int) -> Int {
        var size = 4096
        while size < count { size *= 2 }
        return size
    }
}
