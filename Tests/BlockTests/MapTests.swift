import Synchronization
import Testing

@testable import Block

@Suite(.timeLimit(.minutes(1))) struct MapTests {
    @Test func theBitmapIsItsModel() {
        var random = Seeded.fresh()
        for _ in 0..<50 {
            let count = UInt64.random(in: 1...400, using: &random)
            let bitmap = AtomicBitmap(count: count)
            var model = Set<UInt64>()
            for _ in 0..<100 {
                if random.chance(70) {
                    let start = UInt64.random(in: 0...count, using: &random)
                    let range = start..<UInt64.random(in: start...count, using: &random)
                    #expect(bitmap.set(range) == UInt64(Set(range).subtracting(model).count))
                    model.formUnion(range)
                } else {
                    let word = Int.random(in: 0..<bitmap.numberOfWords, using: &random)
                    let taken = bitmap.takeWord(at: word)
                    let expected = model.filter { $0 / 64 == UInt64(word) }
                    let bits = expected.reduce(UInt64(0)) { $0 | 1 << ($1 % 64) }
                    #expect(taken == bits)
                    model.subtract(expected)
                }
                #expect(bitmap.countSet() == UInt64(model.count))
            }
            for bit in 0..<count { #expect(bitmap.isSet(bit) == model.contains(bit)) }
        }
    }

    @Test func theDirtyMapGivesEveryBlockOnceInOrder() throws {
        var random = Seeded.fresh()
        for _ in 0..<100 {
            let size = UInt64.random(in: 1...2_000_000, using: &random)
            let block = 512 << Int.random(in: 0...5, using: &random)
            let geometry = try #require(BlockGeometry(size: size, blockSize: block))
            let map = DirtyMap(geometry: geometry)
            var model = Set<UInt64>()
            for _ in 0..<20 {
                let offset = UInt64.random(in: 0..<size, using: &random)
                let length = UInt64.random(in: 0...min(size - offset, 50_000), using: &random)
                map.mark(offset: offset, length: length)
                if length > 0 { model.formUnion(offset / UInt64(block)...(offset + length - 1) / UInt64(block)) }
            }
            #expect(map.count() == UInt64(model.count))
            let limit = Int.random(in: 1...300, using: &random)
            var cursor: UInt64 = 0
            var all: [UInt64] = []
            while cursor < geometry.blockCount {
                let before = cursor
                let taken = map.take(from: &cursor, limit: limit)
                #expect(taken.count <= limit + 63 && cursor % 64 == 0 && cursor > before)
                #expect(taken.allSatisfy { (before..<cursor).contains($0) })
                all += taken
            }
            #expect(all == model.sorted() && map.count() == 0)
            #expect(map.take(from: &cursor, limit: limit) == [])
        }
    }

    @Test func aMarkBehindTheCursorIsFoundOnTheNextRound() throws {
        let map = DirtyMap(geometry: try #require(BlockGeometry(size: 4096 * 1000, blockSize: 4096)))
        map.mark(blocks: 0..<1000)
        var cursor: UInt64 = 0
        #expect(map.take(from: &cursor, limit: 100).count == 128 && cursor == 128)
        map.mark(blocks: 5..<6)
        #expect(map.isDirty(5) && !map.isDirty(6))
        #expect(map.take(from: &cursor, limit: .max) == Array(128..<1000))
        cursor = 0
        #expect(map.take(from: &cursor, limit: 1) == [5])
    }

    /// Every mark is taken, and taken after it was made: the taker sees a counter that the marker raised before.
    @Test func noMarkIsLostWhileOthersTake() async throws {
        let blocks = 300
        let map = DirtyMap(geometry: try #require(BlockGeometry(size: UInt64(blocks) * 512, blockSize: 512)))
        let written = Counters(blocks)
        let seen = Counters(blocks)
        let isDone = Atomic<Int>(0)
        var random = Seeded.fresh()
        let seeds = (0..<3).map { _ in random.next() }
        let take: @Sendable () -> Void = {
            var cursor: UInt64 = 0
            while cursor < UInt64(blocks) {
                for block in map.take(from: &cursor, limit: 64) { seen.set(Int(block), written.get(Int(block))) }
            }
        }
        try await onThreads(4) { thread in
            guard thread < 3 else {
                while isDone.load(ordering: .acquiring) < 3 { take() }
                return
            }
            var random = Seeded(seeds[thread])
            for _ in 0..<100_000 {
                let block = Int.random(in: 0..<blocks, using: &random)
                written.raise(block)
                map.mark(offset: UInt64(block) * 512, length: 512)
            }
            isDone.add(1, ordering: .releasing)
        }
        take()
        #expect(map.count() == 0)
        for block in 0..<blocks { #expect(seen.get(block) == written.get(block)) }
    }

    @Test func thePresentMapCountsWhatIsMissing() throws {
        let map = PresentMap(geometry: try #require(BlockGeometry(size: 4096 * 99 + 1, blockSize: 4096)))
        #expect(map.missing() == 100)
        map.mark(10..<20)
        map.mark(15..<30)
        map.mark(99..<100)
        #expect(map.missing() == 79)
        for block in UInt64(0)..<100 {
            #expect(map.isPresent(block) == ((10..<30).contains(block) || block == 99))
        }
    }
}

/// Numbers that many threads count up.
private final class Counters: Sendable {
    private let numbers: [Number]

    init(_ count: Int) { numbers = (0..<count).map { _ in Number() } }

    func raise(_ index: Int) { numbers[index].value.add(1, ordering: .sequentiallyConsistent) }
    func set(_ index: Int, _ value: Int) {
        numbers[index].value.store(value, ordering: .sequentiallyConsistent)
    }
    func get(_ index: Int) -> Int { numbers[index].value.load(ordering: .sequentiallyConsistent) }

    private final class Number: Sendable {
        let value = Atomic<Int>(0)
    }
}
