import Hashing
import TestSupport
import Testing

@testable import MigrationCore

@Suite("Blocks that other disks have asked for")
struct BlockPromisesTests {
    private static let prints = (1...4).map { Fingerprint(high: $0 &* 0x9e37_79b9_7f4a_7c15, low: $0) }
    private static let prefixes = prints.map(\.high)
    private let start = ContinuousClock.now

    /// Three disks; the last one has other domains.
    private func arriving() -> BlockPromises {
        var promises = BlockPromises()
        for disk in 0..<3 { promises.joined(disk, domains: disk < 2 ? [] : ["a"], at: start) }
        promises.promise(Self.prefixes, by: 0, at: start)
        return promises
    }

    @Test("An earlier disk of the same domains has asked for blocks -> only a later one waits, for the last of them")
    func waits() {
        var promises = arriving()
        promises.promise([99] + Self.prefixes, by: 1, at: start)
        let awaited = promises.awaited([Self.prefixes[2], Self.prefixes[1], 5], by: 1, at: start)
        #expect(awaited?.prefix == Self.prefixes[1])
        #expect(promises.awaited([5], by: 1, at: start) == nil)
        #expect(promises.awaited([99], by: 0, at: start) == nil, "the other waits for this one")
        #expect(promises.awaited(Self.prefixes, by: 0, at: start) == nil)
        #expect(promises.awaited(Self.prefixes, by: 2, at: start) == nil)
    }

    @Test("A block comes, is withdrawn, or its disk has gone -> nobody waits for it any more")
    func ends() throws {
        var promises = arriving()
        let first = try #require(promises.awaited([Self.prefixes[0]], by: 1, at: start))
        let second = try #require(promises.awaited([Self.prefixes[1]], by: 1, at: start))
        promises.came([Self.prints[0]], for: 0, at: start)
        #expect(!promises.isOpen(first) && promises.isOpen(second))
        #expect(promises.awaited([Self.prefixes[0]], by: 1, at: start) == nil)
        promises.withdraw(0)
        #expect(!promises.isOpen(second))
        #expect(promises.awaited(Self.prefixes, by: 1, at: start) == nil)
        promises.promise(Self.prefixes, by: 0, at: start)
        #expect(promises.isOpen(second))
        promises.left(0)
        #expect(!promises.isOpen(second))
        #expect(promises.awaited(Self.prefixes, by: 1, at: start) == nil)
    }

    @Test("A disk is silent -> its promises count no more; it gives a sign -> they count again")
    func silence() throws {
        var promises = arriving()
        let end = start + BlockPromises.patience
        let promise = try #require(promises.awaited(Self.prefixes, by: 1, at: end - .nanoseconds(1)))
        #expect(promise.end == end)
        #expect(promises.awaited(Self.prefixes, by: 1, at: end) == nil)
        #expect(promises.isOpen(promise))
        promises.came([Self.prints[0]], for: 0, at: end)
        let second = end + BlockPromises.patience
        #expect(promises.awaited(Self.prefixes, by: 1, at: end)?.end == second)
        promises.promise([], by: 0, at: end + .seconds(1))
        #expect(promises.awaited(Self.prefixes, by: 1, at: end)?.end == second, "it asks for nothing")
        promises.promise([77], by: 0, at: end + .seconds(1))
        #expect(promises.awaited([77], by: 1, at: end)?.end == second + .seconds(1))
    }

    @Test("Invariant 10: promises without end -> they take no more memory, and the first are kept")
    func bounded() {
        var promises = arriving()
        for start in 0..<600 as Range<UInt64> {
            promises.promise((1...1000).map { start * 1000 + $0 }, by: 0, at: self.start)
        }
        #expect(promises.awaited([1], by: 1, at: start) != nil)
        #expect(promises.awaited([599_999], by: 1, at: start) == nil, "too many to remember")
    }

    @Test("Blocks come in the reverse of the usual order -> each is looked at once while it is open, and once after")
    func reverse() {
        var promises = BlockPromises()
        for disk in 0..<2 { promises.joined(disk, domains: [], at: start) }
        let blocks = (1...2000).map { Fingerprint(high: $0, low: 0) }
        promises.promise(blocks.map(\.high), by: 0, at: start)
        var scan = PromiseScan(blocks.map(\.high))
        var waits: [UInt64] = []
        loop: while true {
            switch scan.next(in: promises, domains: [], at: start, isEarlier: { $0 < 1 }) {
            case .wait(let promise):
                waits.append(promise.prefix)
                promises.came([Fingerprint(high: promise.prefix, low: 0)], for: 0, at: start)
                // Asked for once more behind the question: another one waits for it.
                promises.promise([promise.prefix == 1 ? 2 : 1], by: 0, at: start)
            case .more: continue
            case .over: break loop
            }
            guard waits.count < 10_000 else { break }
        }
        #expect(waits.first == 2000 && waits.count <= 2002, "\(waits.count) waits")
        #expect(scan.looks <= 2 * blocks.count + 4, "\(scan.looks) looks")
    }

    @Test("A long question -> looked at in steps, and only what is promised is waited for")
    func steps() {
        let promises = arriving()
        let count = PromiseScan.most * 3
        var scan = PromiseScan(Self.prefixes + (0..<count - 4).map { 1000 + UInt64($0) })
        for count in 1...2 {
            let step = scan.next(in: promises, domains: [], at: start) { $0 < 1 }
            #expect(step == .more)
            #expect(scan.looks == count * PromiseScan.most)
        }
        for prefix in [Self.prefixes[3], Self.prefixes[3]] {
            guard case .wait(let promise) = scan.next(in: promises, domains: [], at: start, isEarlier: { $0 < 1 })
            else {
                Issue.record("nothing to wait for")
                return
            }
            #expect(promise.prefix == prefix)
        }
        let last = scan.next(in: promises, domains: [], at: start + .seconds(100)) { $0 < 1 }
        #expect(last == .over)
    }
}

extension BlockPromises {
    /// The promise for which disk 0 or 1 without domains, or disk 2 with another, waits first.
    fileprivate func awaited(_ prefixes: [UInt64], by disk: Int, at now: ContinuousClock.Instant) -> Promise? {
        var scan = PromiseScan(prefixes)
        let step = scan.next(in: self, domains: disk < 2 ? [] : ["a"], at: now) { $0 < disk }
        guard case .wait(let promise) = step else { return nil }
        return promise
    }
}
