import Glibc
import Testing

@testable import Block

@Suite("Flushes that fail after a loss")
struct OwedFlushTests {
    @Test("A client connected at a loss gets one failed flush; a later client gets none")
    func once() {
        let losses = LossCount()
        var (first, second) = (OwedFlush(losses), OwedFlush(losses))
        #expect(first.outcome(of: 0) == 0)
        losses.increment()
        var late = OwedFlush(losses)
        #expect(first.outcome(of: 0) == EIO)
        #expect(first.outcome(of: 0) == 0)
        #expect(late.outcome(of: 0) == 0)
        #expect(second.outcome(of: ENOSPC) == ENOSPC, "its own failure is the one that it is owed")
        #expect(second.outcome(of: 0) == 0)
    }

    @Test("Losing a connection without unflushed writes fails no flush")
    func flushed() {
        let losses = LossCount()
        let durability = NBDClientDurability(losses: losses)
        durability.recordWrite()
        let mark = durability.beginFlush()
        durability.endFlush(covering: mark)
        durability.recordLoss()
        #expect(losses.now == 0)
        durability.recordWrite()
        durability.recordLoss()
        durability.recordLoss()
        #expect(losses.now == 1)
    }
}
