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
}
