import Testing

@testable import Block

/// Two loops with a connection each to the same server, which notice its end at different times.
@Suite("Writes that a lost server has acknowledged")
struct NBDClientDurabilityTests {
    private let losses = LossCount()
    private let durability: NBDClientDurability
    private let (one, other): (NBDClientDurability.Writer, NBDClientDurability.Writer)

    init() {
        durability = NBDClientDurability(losses: losses)
        one = durability.addWriter()
        other = durability.addWriter()
    }

    private func flush(by writer: NBDClientDurability.Writer) {
        durability.endFlush(by: writer, covering: durability.beginFlush())
    }

    /// The connection of `writer` is lost and made again.
    private func renew(_ writer: NBDClientDurability.Writer, heardIn generation: UInt64) {
        durability.recordLostConnection(heardIn: generation)
        durability.recordConnection(of: writer)
    }

    @Test("Losing a connection without unflushed writes counts no loss; with some, one for all connections")
    func flushed() {
        durability.recordWrite(by: one, begunIn: 0)
        flush(by: other)
        renew(one, heardIn: 0)
        renew(other, heardIn: 0)
        #expect(losses.now == 0)
        durability.recordWrite(by: one, begunIn: 1)
        renew(one, heardIn: 1)
        renew(other, heardIn: 1)
        #expect(losses.now == 1)
    }

    @Test("A loop hears late what the ended server had acknowledged -> a flush at its successor counts the loss")
    func lateAcknowledgement() {
        renew(one, heardIn: 0)
        #expect(losses.now == 0, "nothing is known of the write yet")
        durability.recordWrite(by: other, begunIn: 0)
        flush(by: one)
        #expect(losses.now == 1)
        renew(other, heardIn: 0)
        flush(by: other)
        flush(by: one)
        #expect(losses.now == 1, "it was counted")
    }

    @Test("The loop notices the end of the server before anybody flushes -> it counts the loss")
    func lateEnd() {
        renew(one, heardIn: 0)
        durability.recordWrite(by: other, begunIn: 0)
        renew(other, heardIn: 0)
        #expect(losses.now == 1)
        flush(by: one)
        #expect(losses.now == 1)
    }

    @Test("A loop notices the end late -> what the successor has acknowledged to another loop meanwhile is not lost")
    func successor() {
        renew(one, heardIn: 0)
        durability.recordWrite(by: one, begunIn: 1)
        renew(other, heardIn: 0)
        flush(by: other)
        #expect(losses.now == 0)
        // The successor ends before it has written anything else, and the flush covered all.
        renew(one, heardIn: 1)
        #expect(losses.now == 0)
    }

    @Test("Only one connection is lost -> flushes on it cover what is written on the other one from then on")
    func oneOfTwo() {
        renew(one, heardIn: 0)
        for _ in 0..<3 {
            durability.recordWrite(by: other, begunIn: 1)
            flush(by: one)
        }
        #expect(losses.now == 0)
        durability.recordWrite(by: other, begunIn: 1)
        renew(other, heardIn: 1)
        #expect(losses.now == 1)
    }

    @Test("A flush that the server fails -> a loss for all who have unflushed writes, once")
    func failedFlush() {
        durability.recordWrite(by: one, begunIn: 0)
        durability.recordWrite(by: other, begunIn: 0)
        durability.recordLoss()
        durability.recordLoss()
        #expect(losses.now == 1)
    }

    @Test("A write acknowledged while a flush is under way -> the flush does not cover it")
    func under() {
        let mark = durability.beginFlush()
        durability.recordWrite(by: one, begunIn: 0)
        durability.endFlush(by: other, covering: mark)
        durability.recordLostConnection(heardIn: 0)
        #expect(losses.now == 1)
    }
}
