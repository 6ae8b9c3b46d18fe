import NIOCore
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

/// Every message in every state of the destination of a memory stream.
@Suite("Messages about memory that the destination hears")
struct MemoryDestinationMachineTests {
    typealias Action = MemoryDestinationMachine.Action

    private static let offer = MemoryOffer(disks: [.export("disk")])
    private static let digest = DiskRoot([UInt8](repeating: 3, count: 32))
    private static let end = Message.memory(.end(byteCount: 5, digest: digest))

    private static func batch(_ number: Int = 1, bytes: Int = 10) -> MemoryBatch {
        MemoryBatch(
            tokenBytes: number, literalBytes: 0, proof: .zero,
            compressed: ByteBuffer(repeating: UInt8(truncatingIfNeeded: number), count: bytes))
    }

    static let messages: [(name: String, message: Message)] = [
        ("offer", .memory(.offer(offer))), ("batch", .memory(.batch(batch()))),
        ("repair", .memory(.repair(ByteBuffer(bytes: [9])))), ("end", end), ("cancel", .cancel(reason: "why")),
        ("accepted", .memory(.accepted(history: 0, readable: []))), ("delivered", .memory(.delivered(batches: 0))),
        ("again", .memory(.again(batch: 0))), ("back", .memory(.back(ByteBuffer(bytes: [1])))),
        ("backEnd", .memory(.backEnd)), ("ended", .memory(.ended)), ("failed", .failed(reason: "")),
        ("hello", .hello(Hello(purpose: .memory, migration: MigrationID()))), ("commit", .commit),
    ]

    private static let bothNow: [String: Action] = [
        "batch": .unpack(batch()), "end": .end(byteCount: 5, digest: digest),
    ]
    private static let bothLater: [String: Action] = ["batch": .wait, "end": .wait]

    /// Each state with the messages that are in turn, and their effects.
    static let states: [(name: String, inTurn: [String: Action])] = [
        ("opening", ["offer": .open(offer)]),
        ("relaying", bothNow),
        ("unpacking", bothLater),
        ("unpacking, more waits", bothLater),
        ("repairing", ["repair": .repair(ByteBuffer(bytes: [9])), "batch": .wait, "end": .wait]),
        ("repairing, more waits", ["repair": .repair(ByteBuffer(bytes: [9])), "batch": .wait, "end": .wait]),
        ("unpacking a repair", bothLater),
        ("delivered, more waits", bothLater),
        ("delivered", bothNow),
        ("unpacking, the end waits", [:]),
        ("repairing, the end waits", ["repair": .repair(ByteBuffer(bytes: [9]))]),
        ("at the end", [:]),
        ("ended", [:]),
    ]

    private func machine(_ state: String) throws -> MemoryDestinationMachine {
        var machine = MemoryDestinationMachine()
        func hear(_ message: MemoryMessage) throws { _ = try machine.receive(.memory(message)) }
        if state == "opening" { return machine }
        try hear(.offer(Self.offer))
        if state == "relaying" { return machine }
        if state == "at the end" || state == "ended" {
            try hear(.end(byteCount: 5, digest: Self.digest))
            if state == "ended" { machine.end() }
            return machine
        }
        try hear(.batch(Self.batch(7)))
        if state.contains("more waits") { try hear(.batch(Self.batch(8))) }
        if state.hasPrefix("repairing") || state == "unpacking a repair" { _ = try machine.askAgain() }
        if state == "unpacking a repair" { try hear(.repair(ByteBuffer(bytes: [9]))) }
        if state.hasPrefix("delivered") { _ = machine.deliver() }
        if state.contains("the end waits") { try hear(.end(byteCount: 5, digest: Self.digest)) }
        return machine
    }

    @Test("A message in turn -> its effect; out of turn -> the connection ends")
    func table() throws {
        for state in Self.states {
            for (name, message) in Self.messages {
                var machine = try machine(state.name)
                do {
                    let action = try machine.receive(message)
                    holds(action == state.inTurn[name], "\(name) in \(state.name): \(action)")
                } catch MigrationError.unexpected {
                    holds(state.inTurn[name] == nil, "\(name) in \(state.name) is refused")
                } catch MigrationError.peerFailed(let reason) {
                    holds(name == "cancel" && reason == "why")
                }
                holds(machine.isEnded == (state.name == "ended"))
            }
        }
    }

    @Test("Batches come faster than they are delivered -> one at a time is handed out, in their order, then the end")
    func order() throws {
        var machine = try machine("relaying")
        holds(try machine.receive(.memory(.batch(Self.batch(1)))) == .unpack(Self.batch(1)))
        for number in 2...5 { holds(try machine.receive(.memory(.batch(Self.batch(number)))) == .wait) }
        holds(try machine.receive(Self.end) == .wait)
        for number in 2...5 {
            holds(machine.next() == nil)
            holds(machine.deliver() == UInt64(number - 1))
            holds(machine.next() == .unpack(Self.batch(number)))
        }
        holds(machine.deliver() == 5 && machine.delivered == 5)
        holds(machine.next() == .end(byteCount: 5, digest: Self.digest))
        holds(machine.next() == nil)
        machine.end()
        holds(machine.isEnded)
    }

    @Test("A batch comes while others wait for the driver -> it goes behind them")
    func overtaking() throws {
        var machine = try machine("delivered, more waits")
        holds(try machine.receive(.memory(.batch(Self.batch(9)))) == .wait)
        holds(machine.next() == .unpack(Self.batch(8)))
        _ = machine.deliver()
        holds(machine.next() == .unpack(Self.batch(9)))
    }

    @Test("A wrong batch -> is asked for by its number, its repair goes before all that waits, and none comes twice")
    func repair() throws {
        var machine = try machine("delivered, more waits")
        holds(machine.next() == .unpack(Self.batch(8)))
        holds(try machine.askAgain() == 1)
        holds(try machine.receive(.memory(.batch(Self.batch(9)))) == .wait)
        holds(machine.next() == nil)
        holds(try machine.receive(.memory(.repair(ByteBuffer(bytes: [1])))) == .repair(ByteBuffer(bytes: [1])))
        #expect(throws: MigrationError.self) { try machine.receive(.memory(.repair(ByteBuffer(bytes: [1])))) }
        #expect(throws: MigrationError.self) { try machine.askAgain() }
        holds(machine.deliver() == 2)
        holds(machine.next() == .unpack(Self.batch(9)))
        holds(try machine.askAgain() == 2)
    }

    @Test("More batches wait than a source may have under way -> the connection ends")
    func mostBatches() throws {
        var machine = try machine("repairing")
        for number in 1..<MemoryWindow.mostBatches {
            holds(try machine.receive(.memory(.batch(Self.batch(number)))) == .wait)
        }
        var other = machine
        holds(try machine.receive(Self.end) == .wait, "a source that keeps the limits")
        _ = try other.receive(.memory(.batch(Self.batch())))
        #expect(throws: MigrationError.self) { try other.receive(.memory(.batch(Self.batch()))) }
        #expect(throws: MigrationError.self) { try other.receive(Self.end) }
    }

    @Test("More bytes wait than a source may have under way -> the connection ends; what was handed out is free again")
    func mostBytes() throws {
        var machine = try machine("repairing")
        let part = Self.batch(1, bytes: MemoryDestinationMachine.mostWaiting / 26)
        for _ in 0..<26 { holds(try machine.receive(.memory(.batch(part))) == .wait) }
        var other = machine
        #expect(throws: MigrationError.self) { try other.receive(.memory(.batch(Self.batch(1, bytes: 1000)))) }
        _ = try machine.receive(.memory(.repair(ByteBuffer())))
        for _ in 0..<40 {
            _ = machine.deliver()
            holds(machine.next() == .unpack(part))
            holds(try machine.receive(.memory(.batch(part))) == .wait)
        }
    }

    @Test("A batch waits that is a slice of a large buffer -> it is kept without the rest")
    func slices() throws {
        var machine = try machine("repairing")
        let large = ByteBuffer(repeating: 5, count: 1 << 20)
        var batch = Self.batch()
        batch.compressed = large.getSlice(at: 1000, length: 100)!
        _ = try machine.receive(.memory(.batch(batch)))
        _ = try machine.receive(.memory(.repair(ByteBuffer())))
        _ = machine.deliver()
        guard case .unpack(let kept)? = machine.next() else {
            Issue.record("nothing waits")
            return
        }
        #expect(kept == batch)
        #expect(kept.compressed.storageCapacity < 1000)
    }
}
