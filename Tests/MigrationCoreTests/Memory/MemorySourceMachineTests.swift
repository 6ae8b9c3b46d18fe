import NIOCore
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

/// Every message in every state of the source of a memory stream.
@Suite("Messages about memory that the source hears")
struct MemorySourceMachineTests {
    private static let bytes = ByteBuffer(bytes: [1, 2])

    static let messages: [(name: String, message: Message)] = [
        ("accepted", .memory(.accepted(history: 7, readable: [true, false]))),
        ("accepted, of 1 disk", .memory(.accepted(history: 7, readable: [true]))),
        ("accepted, of 3 disks", .memory(.accepted(history: 7, readable: [true, true, true]))),
        ("delivered 0", .memory(.delivered(batches: 0))), ("delivered 1", .memory(.delivered(batches: 1))),
        ("delivered 2", .memory(.delivered(batches: 2))), ("delivered 3", .memory(.delivered(batches: 3))),
        ("delivered, the most", .memory(.delivered(batches: .max))),
        ("again 0", .memory(.again(batch: 0))), ("again 1", .memory(.again(batch: 1))),
        ("again 2", .memory(.again(batch: 2))), ("again, the most", .memory(.again(batch: .max))),
        ("back", .memory(.back(bytes))), ("backEnd", .memory(.backEnd)), ("ended", .memory(.ended)),
        ("failed", .failed(reason: "why")), ("refused", .refused(reason: "no")),
        ("offer", .memory(.offer(MemoryOffer(disks: [])))), ("repair", .memory(.repair(bytes))),
        ("end", .memory(.end(byteCount: 0, digest: DiskRoot([UInt8](repeating: 0, count: 32))))),
        ("batch", .memory(.batch(MemoryBatch(tokenBytes: 1, literalBytes: 0, proof: .zero, compressed: bytes)))),
        ("welcome", .welcome(Welcome(blockSize: 0))), ("roundDone", .roundDone(1)), ("cancel", .cancel(reason: "")),
    ]

    private static let back: [String: MemorySourceMachine.Action] = ["back": .giveBack([1, 2]), "backEnd": .endBack]

    /// Each state with the messages that are in turn, and their effects.
    static let states: [(name: String, inTurn: [String: MemorySourceMachine.Action])] = [
        ("opening", ["accepted": .begin(history: 7, readable: [true, false])]),
        ("relaying, nothing sent", with(back, ["delivered 0": .release(upTo: 0)])),
        (
            "relaying, 2 of 2 under way",
            with(back, released(0...2), ["again 0": .repair(batch: 0)])
        ),
        (
            "relaying, 1 of 2 under way",
            with(back, released(1...2), ["again 1": .repair(batch: 1)])
        ),
        ("relaying, batch 1 was repaired", with(back, released(1...2))),
        ("relaying, all delivered", with(back, released(2...2))),
        ("ended, 2 of 2 under way", with(back, released(0...2), ["again 0": .repair(batch: 0)])),
        ("ended, all delivered", with(back, released(2...2), ["ended": .finish])),
        ("ended, nothing sent", with(back, released(0...0), ["ended": .finish])),
        ("finished", back),
        ("relaying, no more back", ["delivered 0": .release(upTo: 0)]),
        ("ended, no more back", with(released(2...2), ["ended": .finish])),
        ("finished, no more back", [:]),
    ]

    private static func with(_ actions: [String: MemorySourceMachine.Action]...) -> [String: MemorySourceMachine.Action]
    {
        actions.reduce(into: [:]) { $0.merge($1) { first, _ in first } }
    }

    private static func released(_ batches: ClosedRange<UInt64>) -> [String: MemorySourceMachine.Action] {
        Dictionary(uniqueKeysWithValues: batches.map { ("delivered \($0)", .release(upTo: $0)) })
    }

    private func machine(_ state: String) throws -> MemorySourceMachine {
        var machine = MemorySourceMachine(disks: 2)
        guard state != "opening" else { return machine }
        func hear(_ message: MemoryMessage) throws { _ = try machine.receive(.memory(message)) }
        try hear(.accepted(history: 7, readable: [true, false]))
        if !state.contains("nothing sent"), state != "relaying, no more back" {
            for _ in 0..<2 { machine.send(stream: 10, onLink: 5) }
        }
        if state.contains("1 of 2") || state.contains("repaired") { try hear(.delivered(batches: 1)) }
        if state.contains("repaired") { try hear(.again(batch: 1)) }
        let isFinished = state.hasPrefix("finished")
        if state.contains("all delivered") || state == "ended, no more back" || isFinished {
            try hear(.delivered(batches: 2))
        }
        if state.hasPrefix("ended") || isFinished { machine.end() }
        if isFinished { try hear(.ended) }
        if state.contains("no more back") { try hear(.backEnd) }
        return machine
    }

    @Test("A message in turn -> its effect; out of turn -> the connection ends, and nothing changes")
    func table() throws {
        for state in Self.states {
            for (name, message) in Self.messages {
                var machine = try machine(state.name)
                let before = machine.window
                do {
                    let action = try machine.receive(message)
                    holds(action == state.inTurn[name], "\(name) in \(state.name): \(action)")
                } catch MigrationError.unexpected {
                    holds(state.inTurn[name] == nil, "\(name) in \(state.name) is refused")
                    holds(machine.window.delivered == before.delivered, "\(name) in \(state.name)")
                } catch MigrationError.peerFailed(let reason) {
                    holds(name == "failed" && reason == "why" || name == "refused" && reason == "no")
                }
            }
        }
    }

    @Test("The next batch is wrong, too -> it is repaired as well, but none twice")
    func repairs() throws {
        var machine = try machine("relaying, 1 of 2 under way")
        holds(try machine.receive(.memory(.again(batch: 1))) == .repair(batch: 1))
        #expect(throws: MigrationError.self) { try machine.receive(.memory(.again(batch: 1))) }
        machine.send(stream: 10, onLink: 5)
        holds(try machine.receive(.memory(.delivered(batches: 2))) == .release(upTo: 2))
        #expect(throws: MigrationError.self) { try machine.receive(.memory(.again(batch: 1))) }
        holds(try machine.receive(.memory(.again(batch: 2))) == .repair(batch: 2))
    }

    @Test("A destination that keeps any number of pages -> this node remembers 262144 at most")
    func history() throws {
        for (offered, taken) in [(0, 0), (1 << 18, 1 << 18), (1 << 18 + 1, 1 << 18), (.max, 1 << 18)] as [(UInt32, Int)]
        {
            var machine = MemorySourceMachine(disks: 0)
            holds(
                try machine.receive(.memory(.accepted(history: offered, readable: [])))
                    == .begin(history: taken, readable: []))
        }
    }

    @Test("A batch goes to the link -> it is in the window until it is delivered")
    func window() throws {
        var machine = try machine("relaying, nothing sent")
        machine.send(stream: 10, onLink: 128 << 10)
        holds(!machine.window.mayTake(over: nil))
        _ = try machine.receive(.memory(.delivered(batches: 1)))
        holds(machine.window.mayTake(over: nil) && machine.window.isEmpty)
    }
}
