import TestSupport
import Testing

@testable import Block
@testable import BlockModel

@Suite("Sets of blocks")
struct BlockSetTests {
    @Test("A set holds the added blocks as ascending, separate runs", arguments: [1, 40])
    func model(sparseness: Int) {
        var random = Seeded.fresh()
        for _ in 0..<100 {
            var set = BlockSet(of: 500)
            var model: Set<UInt64> = []
            for _ in 0..<Int.random(in: 0..<60, using: &random) {
                let start = UInt64.random(in: 0..<500, using: &random)
                let end = min(500, start + .random(in: 0...UInt64(sparseness), using: &random))
                set.insert(start..<end)
                model.formUnion(start..<end)
            }
            #expect(set.flatMap { Array($0) } == model.sorted())
            let runs = Array(set)
            #expect(zip(runs, runs.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
            #expect((0..<UInt64(510)).allSatisfy { set.contains($0) == model.contains($0) })
            #expect(set.isEmpty == model.isEmpty)
        }
    }

    @Test("A fragmented set takes one bit a block, and copies are independent")
    func alternating() {
        // 16 TiB of 4 KiB blocks would take half a GiB of bits; of a 1024th of it, the same must be so.
        let count: UInt64 = (1 << 32) / 1024
        var set = BlockSet(of: count)
        for block in stride(from: 0, to: count, by: 2) { set.insert(block..<block + 1) }
        #expect(set.byteCount == Int(count / 8))
        let copy = set
        set.insert(0..<count)
        #expect(Array(set) == [0..<count])
        #expect(copy.reduce(0) { sum, _ in sum + 1 } == Int(count / 2))
        #expect(copy.contains(2) && !copy.contains(3))
        #expect(copy != set)
        #expect(copy.union(set) == set)
        // Few runs take what they take, of a disk of any size.
        let few = BlockSet([0..<1 << 31, 1 << 31 + 1..<1 << 32], of: 1 << 32)
        #expect(few.byteCount == 32)
    }
}
