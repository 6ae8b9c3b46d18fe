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
}
