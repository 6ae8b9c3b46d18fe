import TestSupport
import Testing

@testable import BlockModel
@testable import MigrationCore

@Suite("Requests and fills of a disk that is not whole")
struct PostCopySchedulerTests {
    private typealias Action = PostCopyScheduler.Action

    private static let full: CInt = 28
    private static let broken: CInt = 5

    private let map: DurablePresentMap
    private var scheduler: PostCopyScheduler

    init() throws {
        map = DurablePresentMap(geometry: try #require(BlockGeometry(size: 8 * 4096 - 96, blockSize: 4096)))
        scheduler = PostCopyScheduler(map: map)
    }

    private func operation(
        _ id: UInt64, _ kind: RequestKind, _ bytes: Range<UInt64>, isForced: Bool = false
    ) -> PostCopyScheduler.Operation {
        PostCopyScheduler.Operation(id: id, kind: kind, bytes: bytes, isForced: isForced)
    }

    private func blocks(_ range: Range<UInt64>) -> Range<UInt64> {
        range.lowerBound * 4096..<min(range.upperBound * 4096, map.geometry.size)
    }

    @Test("A write of whole blocks -> begins at once and demands nothing; the blocks are then present, not taken")
    mutating func wholeBlocks() {
        let write = operation(1, .write, blocks(2..<4))
        #expect(scheduler.begin(write) == [.perform(write)])
        #expect(!map.isPresent(2))
        #expect(scheduler.performed(1, error: 0) == [.finish(id: 1, error: 0)])
        #expect(map.isPresent(2) && map.isPresent(3) && !map.isTaken(2))
        // The last block is short, and whole all the same.
        let last = operation(2, .write, blocks(7..<8))
        #expect(scheduler.begin(last) == [.perform(last)])
    }

    @Test("Invariant 3: a fill that comes during a write -> the blocks that are being written are left out")
    mutating func fillDuringWrite() {
        _ = scheduler.begin(operation(1, .write, blocks(2..<4)))
        let fill = scheduler.arrived([1..<6])
        #expect(fill.accepted == [1..<2, 4..<6])
        #expect(scheduler.filled(fill.id, error: 0) == [])
        _ = scheduler.performed(1, error: 0)
        #expect(scheduler.arrived([0..<8]).accepted == [0..<1, 6..<8])
    }

    @Test("Invariant 3: a write that comes during a fill of its blocks -> waits for its end; two fills do not meet")
    mutating func writeDuringFill() {
        let fill = scheduler.arrived([2..<3])
        let write = operation(1, .write, blocks(2..<4))
        #expect(scheduler.begin(write) == [])
        #expect(scheduler.arrived([1..<4]).accepted == [1..<2, 3..<4])
        #expect(scheduler.filled(fill.id, error: 0) == [], "the other fill still has one of its blocks")
        #expect(scheduler.openCount == 1)
    }

    @Test("A write that failed -> its blocks are still missing, and may be filled")
    mutating func failedWrite() {
        _ = scheduler.begin(operation(1, .write, blocks(2..<4)))
        #expect(scheduler.performed(1, error: Self.broken) == [.finish(id: 1, error: Self.broken)])
        #expect(scheduler.arrived([2..<4]).accepted == [2..<4])
    }

    @Test("A write of a part of a block -> waits for that block alone")
    mutating func partialWrite() {
        let write = operation(1, .write, 4096 + 1..<4 * 4096)
        #expect(scheduler.begin(write) == [.demand([1..<2], ahead: [])])
        let fill = scheduler.arrived([1..<2])
        #expect(scheduler.filled(fill.id, error: 0) == [.perform(write)])
    }

    @Test("A trim -> narrowed to whole blocks, and nothing is brought for the others")
    mutating func trim() {
        #expect(
            scheduler.begin(operation(1, .trim, 1..<3 * 4096 + 1)) == [.perform(operation(1, .trim, blocks(1..<3)))])
        #expect(scheduler.begin(operation(2, .trim, 1..<4096)) == [.finish(id: 2, error: 0)])
    }

    @Test("Blocks that are demanded already -> not demanded again, until the link is lost")
    mutating func demandOnce() {
        let demand = [Action.demand([0..<1], ahead: [1..<8])]
        #expect(scheduler.begin(operation(1, .read, 0..<1)) == demand)
        #expect(scheduler.begin(operation(2, .read, 0..<4096)) == [])
        #expect(scheduler.demandedCount == 8)
        scheduler.linkLost()
        #expect(scheduler.demandedCount == 0)
        #expect(scheduler.linkFound() == demand)
    }

    @Test("Bytes at hand that can't be stored -> reads have them, and writers hear why")
    mutating func passedBy() {
        _ = scheduler.begin(operation(1, .read, blocks(0..<2)))
        _ = scheduler.begin(operation(2, .write, 1..<2))
        let fill = scheduler.arrived([0..<1])
        #expect(
            scheduler.filled(fill.id, error: Self.full, isAtHand: true) == [
                .deliver(id: 1, [0..<1]), .finish(id: 2, error: Self.full),
            ])
        var read = operation(1, .read, blocks(0..<2))
        read.delivered = [0..<1]
        let rest = scheduler.arrived([1..<2])
        #expect(scheduler.filled(rest.id, error: 0) == [.perform(read)])
        #expect(!map.isPresent(0))
    }

    @Test("Blocks that the source can't read -> only requests that wait for them first end, reads with an I/O error")
    mutating func unavailable() {
        _ = scheduler.begin(operation(1, .read, blocks(0..<2)))
        _ = scheduler.begin(operation(2, .read, blocks(1..<2)))
        #expect(scheduler.unavailable(1..<2, error: Self.full) == [.finish(id: 2, error: Self.broken)])
        #expect(scheduler.openCount == 1)
    }

    @Test(
        "Blocks that the source can't read while others are waited for -> demanded on a retry, or once they are first")
    mutating func heldBack() {
        let again = [Action.demand([1..<2], ahead: [])]
        _ = scheduler.begin(operation(1, .read, blocks(0..<2)))
        #expect(scheduler.unavailable(1..<2, error: Self.broken) == [], "not once per round trip")
        #expect(scheduler.unavailable(1..<2, error: Self.broken) == [])
        #expect(scheduler.retry() == again)
        #expect(scheduler.retry() == [])
        #expect(scheduler.unavailable(1..<2, error: Self.broken) == [])
        // The client hears soon whether it can be read now.
        let fill = scheduler.arrived([0..<1])
        #expect(scheduler.filled(fill.id, error: 0) == again)
        #expect(scheduler.unavailable(1..<2, error: Self.full) == [.finish(id: 1, error: Self.broken)])
    }

    @Test("Blocks that were held back -> demanded for another request that comes, and on the next link")
    mutating func heldBackForOne() {
        _ = scheduler.begin(operation(1, .read, blocks(0..<2)))
        _ = scheduler.unavailable(1..<2, error: Self.broken)
        #expect(scheduler.begin(operation(2, .read, blocks(1..<2))) == [.demand([1..<2], ahead: [])])
        #expect(scheduler.unavailable(1..<2, error: Self.broken) == [.finish(id: 2, error: Self.broken)])
        scheduler.linkLost()
        #expect(scheduler.linkFound() == [.demand([0..<2], ahead: [2..<8])])
    }

    @Test(
        "Blocks that can't be stored while a write waits for others -> demanded on a retry, or once they are first")
    mutating func notStored() {
        func fill(_ blocks: Range<UInt64>, error: CInt, isAtHand: Bool = true) -> [Action] {
            let fill = scheduler.arrived([blocks])
            return scheduler.filled(fill.id, error: error, isAtHand: isAtHand)
        }
        let again = [Action.demand([3..<4], ahead: [])]
        let write = operation(1, .write, 4096 + 1..<4 * 4096 - 1)
        #expect(scheduler.begin(write) == [.demand([1..<2, 3..<4], ahead: [])])
        #expect(fill(3..<4, error: Self.full) == [], "not once per round trip")
        #expect(fill(2..<5, error: Self.full, isAtHand: false) == [])
        #expect(scheduler.retry() == again)
        #expect(scheduler.retry() == [])
        #expect(fill(3..<4, error: Self.full) == [])
        #expect(fill(1..<2, error: 0) == again, "its client hears soon whether there is room now")
        #expect(fill(3..<4, error: Self.full) == [.finish(id: 1, error: Self.full)])
    }

    @Test(
        "Runs without what is claimed -> as block by block, in a time that grows with their number alone",
        .timeLimit(.minutes(1)))
    func claims() {
        var random = Seeded.fresh()
        func ranges(_ count: Int) -> [Range<UInt64>] {
            (0..<count).map { _ in
                let first = UInt64.random(in: 0..<60, using: &random)
                return first..<first + UInt64.random(in: 1...9, using: &random)
            }
        }
        for _ in 0..<500 {
            let claims = ranges(Int.random(in: 0...6, using: &random))
            let blocks = Set(ranges(Int.random(in: 1...6, using: &random)).joined())
            let runs = blocks.sorted().reduce(into: [Range<UInt64>]()) { runs, block in
                if let last = runs.last, last.upperBound == block {
                    runs[runs.count - 1] = last.lowerBound..<block + 1
                } else {
                    runs.append(block..<block + 1)
                }
            }
            let free = PostCopyScheduler.without(claims, runs)
            #expect(Array(free.joined()) == blocks.subtracting(claims.joined()).sorted(), "\(runs) without \(claims)")
            #expect(free.allSatisfy { !$0.isEmpty })
        }
        let many = (0..<200_000 as Range<UInt64>).map { $0 * 2..<$0 * 2 + 1 }
        #expect(PostCopyScheduler.without(many.reversed(), many) == [])
    }

    @Test("A forced write -> finished once a save that began after it has ended")
    mutating func forced() {
        #expect(scheduler.checkpoint() == [.makeDurable])
        let write = operation(1, .write, blocks(0..<1), isForced: true)
        #expect(scheduler.begin(write) == [.perform(write)])
        #expect(scheduler.performed(1, error: 0) == [])
        #expect(scheduler.madeDurable(error: 0) == [.makeDurable], "the save under way may have missed it")
        #expect(scheduler.madeDurable(error: Self.broken) == [.finish(id: 1, error: Self.broken)])
        #expect(scheduler.isQuiet)
    }
}
