import TestSupport
import Testing

@testable import BlockModel
@testable import MigrationCore

@Suite("Free blocks last")
struct FreeBlocksLastTests {
    private func order(_ free: [Range<UInt64>]) -> FreeBlocksLast { FreeBlocksLast(free: BlockSet(free, of: 1000)) }

    private func waiting(_ order: FreeBlocksLast) -> [UInt64] { order.waiting(inPartsOf: 2).flatMap { $0 } }

    @Test("Nothing free -> everything at once")
    func nothingFree() {
        var order = order([])
        #expect(order.next([3, 7]) { $0 } == [3, 7])
        #expect(waiting(order) == [])
    }

    @Test("Free blocks wait, each in its place, in parts of bounded size")
    func wait() {
        var order = order([5..<8, 20..<22])
        #expect(order.next([3, 5, 6, 8]) { $0 } == [3, 8])
        #expect(order.next([20, 21, 30]) { $0 } == [30])
        #expect(Array(order.waiting(inPartsOf: 3)) == [[5, 6, 20], [21]])
    }

    @Test("A used block with the content of free ones that wait -> the last of them goes with it")
    func usedBehindFree() {
        var order = order([0..<10])
        #expect(order.next([1, 2]) { _ in 77 } == [])
        #expect(order.next([50, 51]) { $0 == 50 ? 77 : 78 } == [2, 50, 51])
        #expect(waiting(order) == [1])
    }

    @Test("A free block with the content of a used one that was sent -> it goes behind it")
    func freeBehindUsed() {
        var order = order([100..<110])
        #expect(order.next([50]) { _ in 77 } == [50])
        #expect(order.next([100, 101]) { $0 == 100 ? 77 : 79 } == [100])
        #expect(waiting(order) == [101])
    }

    @Test("Any answers -> every wanted block is sent once, at once or at the end")
    func random() {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            let free = (0..<1000 as Range<UInt64>).filter { _ in random.chance(40) }.map { $0..<$0 + 1 }
            var order = order(free)
            var wanted: [UInt64] = []
            var sent: [UInt64] = []
            var block: UInt64 = 0
            while block < 1000 {
                let end = min(1000, block + UInt64.random(in: 1...90, using: &random))
                let part = (block..<end).filter { _ in random.chance(70) }
                wanted += part
                let now = order.next(part) { $0 * 7 % 301 }
                #expect(now == now.sorted())
                sent += now
                block = end
            }
            sent += waiting(order)
            #expect(sent.sorted() == wanted)
        }
    }
}
