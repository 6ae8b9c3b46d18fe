import Synchronization
import Testing

@testable import Block

/// Two loops with a connection each to the same server, which hear of its end at different times.
@Suite("Writes that an ended server has acknowledged")
struct NBDClientDurabilityTests {
    /// A server that this process has started.
    private final class Server: DiskServer {
        private let bodies = Mutex<[@Sendable () -> Void]>([])
        func whenEnded(_ body: @escaping @Sendable () -> Void) { bodies.withLock { $0.append(body) } }
        func end() { for body in bodies.withLock({ $0 }) { body() } }
    }

    private let losses = LossCount()

    private func flush(_ durability: NBDClientDurability) { durability.endFlush(covering: durability.beginFlush()) }

    @Test("Losing a connection without unflushed writes counts no loss; with some, one")
    func flushed() {
        let durability = NBDClientDurability(losses: losses)
        durability.recordWrite(begunIn: durability.generation)
        flush(durability)
        durability.recordLostConnection()
        #expect(losses.now == 0)
        durability.recordWrite(begunIn: durability.generation)
        durability.recordLostConnection()
        durability.recordLostConnection()
        #expect(losses.now == 1)
    }

    @Test(
        "A loop records late what the ended server had acknowledged -> lost, though a flush at the successor comes before"
    )
    func lateAcknowledgement() {
        let durability = NBDClientDurability(losses: losses)
        let begun = durability.generation
        durability.recordLostConnection()
        flush(durability)
        #expect(losses.now == 0, "nothing is known of the write yet")
        durability.recordWrite(begunIn: begun)
        #expect(losses.now == 1)
        flush(durability)
        durability.recordLostConnection()
        #expect(losses.now == 1, "it was counted")
    }

    @Test("A server whose ends are told -> a lost connection alone loses nothing, an end what is unflushed")
    func told() {
        let server = Server()
        let durability = NBDClientDurability(losses: losses, server: server)
        let begun = durability.generation
        durability.recordWrite(begunIn: begun)
        durability.recordLostConnection()
        durability.recordWrite(begunIn: begun)
        #expect(losses.now == 0)
        server.end()
        #expect(losses.now == 1)
        // Loops that are late lose their connections to the old server, and the successor's writes are not in doubt.
        durability.recordWrite(begunIn: durability.generation)
        durability.recordLostConnection()
        flush(durability)
        #expect(losses.now == 1)
        durability.recordWrite(begunIn: begun)
        #expect(losses.now == 2)
    }

    @Test("Changes must not be lost -> everything is refused after the end of a server that had unflushed ones")
    func strict() {
        let durability = NBDClientDurability(losses: losses)
        durability.setStrict(true)
        durability.recordWrite(begunIn: 0)
        #expect(!durability.refuses && durability.forcesChanges)
        durability.recordLostConnection()
        #expect(durability.refuses)
        durability.setStrict(false)
        #expect(!durability.refuses)
    }

    @Test("A flush that the server fails -> one loss of all unflushed writes")
    func failedFlush() {
        let durability = NBDClientDurability(losses: losses)
        durability.recordWrite(begunIn: 0)
        durability.recordLoss()
        durability.recordLoss()
        #expect(losses.now == 1)
    }

    @Test("A write acknowledged while a flush is under way -> the flush does not cover it")
    func under() {
        let durability = NBDClientDurability(losses: losses)
        let mark = durability.beginFlush()
        durability.recordWrite(begunIn: 0)
        durability.endFlush(covering: mark)
        durability.recordLostConnection()
        #expect(losses.now == 1)
    }
}
