import Synchronization
import TestSupport
import Testing

@testable import Block
@testable import BlockModel

@Suite(.timeLimit(.minutes(10))) struct MapTests {
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
                if length > 0 {
                    model.formUnion(offset / UInt64(block)...(offset + length - 1) / UInt64(block))
                }
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

    /// Maps of 1000 blocks, of which some are dirty.
    private func maps(
        dirty count: Int, _ random: inout Seeded
    ) throws -> (map: DirtyMap, sent: SentMap, dirty: Set<UInt64>) {
        let geometry = try #require(BlockGeometry(size: 4096 * 1000, blockSize: 4096))
        let map = DirtyMap(geometry: geometry)
        let dirty = Self.blocks(count, &random)
        for block in dirty { map.mark(blocks: block..<block + 1) }
        return (map, SentMap(geometry: geometry), dirty)
    }

    private static func blocks(_ count: Int, _ random: inout Seeded) -> Set<UInt64> {
        Set((0..<count).map { _ in UInt64.random(in: 0..<1000, using: &random) })
    }

    @Test func whatWasSentLatelyStaysDirty() throws {
        var random = Seeded.fresh()
        let (map, sent, dirty) = try maps(dirty: 300, &random)
        var lately = Self.blocks(300, &random)
        for block in lately { sent.mark(block) }
        // Two neighbours share a bit.
        lately.formUnion(lately.map { $0 ^ 1 })
        #expect(map.count(without: sent) == UInt64(dirty.subtracting(lately).count))
        var cursor: UInt64 = 0
        #expect(map.take(from: &cursor, limit: .max, without: sent) == dirty.subtracting(lately).sorted())
        #expect(map.count() == UInt64(dirty.intersection(lately).count) && map.count(without: sent) == 0)
        sent.clear()
        cursor = 0
        #expect(map.take(from: &cursor, limit: .max, without: sent) == dirty.intersection(lately).sorted())
    }

    @Test func aRoundThatMarksWhatItTakesTakesAll() throws {
        var random = Seeded.fresh()
        let (map, sent, dirty) = try maps(dirty: 700, &random)
        var taken: [UInt64] = []
        var cursor: UInt64 = 0
        while cursor < map.geometry.blockCount {
            let blocks = map.take(from: &cursor, limit: 1, without: sent)
            for block in blocks { sent.mark(block) }
            taken += blocks
        }
        #expect(taken == dirty.sorted() && map.count() == 0)
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

    /// Three threads mark every block once, bit by bit in the same words; a fourth takes the very word they are at.
    @Test func noMarkIsLostWhileOthersTake() async throws {
        let blocks: UInt64 = 600_000
        let map = DirtyMap(geometry: try #require(BlockGeometry(size: blocks * 512, blockSize: 512)))
        let position = Atomic<UInt64>(0)
        let working = Atomic<Int>(3)
        let taken = Atomic<Int>(0)
        try await onThreads(4) { thread in
            guard thread < 3 else {
                while working.load(ordering: .acquiring) > 0 {
                    var cursor = position.load(ordering: .relaxed) & ~63
                    taken.add(map.take(from: &cursor, limit: 1).count, ordering: .relaxed)
                }
                return
            }
            for block in stride(from: UInt64(thread), to: blocks, by: 3) {
                position.store(block, ordering: .relaxed)
                map.mark(offset: block * 512, length: 512)
            }
            working.subtract(1, ordering: .releasing)
        }
        var cursor: UInt64 = 0
        let rest = map.take(from: &cursor, limit: .max).count
        #expect(taken.load(ordering: .relaxed) + rest == Int(blocks))
        #expect(rest < Int(blocks), "the taker met nobody")
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
