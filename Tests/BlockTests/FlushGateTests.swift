import Glibc
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Block

@Suite("One attempt to make an image durable at a time")
struct FlushGateTests {
    private typealias Turns = NIOLockedValueBox<[String]>

    private func waiter(_ name: String, _ turns: Turns) -> FlushGate.Waiter {
        { turn in turns.withLockedValue { $0.append("\(name) \(turn)") } }
    }

    @Test("What comes during an attempt is covered by one attempt after it")
    func grouping() {
        let (gate, turns) = (FlushGate(), Turns([]))
        #expect(gate.begin(waiter("a", turns)) == .run)
        #expect(gate.begin(waiter("b", turns)) == nil)
        #expect(gate.begin(waiter("c", turns)) == nil)
        gate.end(0)
        #expect(turns.withLockedValue { $0 } == ["b run"])
        #expect(gate.begin(waiter("d", turns)) == nil)
        gate.end(0)
        #expect(turns.withLockedValue { $0 } == ["b run", "c ended(0)", "d run"])
        gate.end(0)
        #expect(gate.begin(waiter("e", turns)) == .run)
    }

    @Test("A failure is everybody's, and stays")
    func failure() {
        let (gate, turns) = (FlushGate(), Turns([]))
        let reported = NIOLockedValueBox<[CInt]>([])
        gate.whenFailed { error in reported.withLockedValue { $0.append(error) } }
        #expect(gate.begin(waiter("a", turns)) == .run)
        #expect(gate.begin(waiter("b", turns)) == nil)
        #expect(gate.begin(waiter("c", turns)) == nil)
        gate.end(0)
        #expect(gate.begin(waiter("d", turns)) == nil)
        gate.end(EIO)
        #expect(turns.withLockedValue { $0 } == ["b run", "c ended(5)", "d ended(5)"])
        #expect(gate.begin(waiter("e", turns)) == .ended(EIO))
        #expect(gate.perform { 0 } == EIO)
        #expect(reported.withLockedValue { $0 } == [EIO])
    }

    /// The kernel's way: whichever attempt looks first takes the error along.
    @Test("Of attempts on many threads, none that began before a failure succeeds after it")
    func threads() async throws {
        var random = Seeded.fresh()
        for _ in 0..<50 {
            let gate = FlushGate()
            let (unreported, isOver) = (NIOLockedValueBox(CInt(0)), NIOLockedValueBox(false))
            let failing = Int.random(in: 0..<200, using: &random)
            let attempts = NIOLockedValueBox(0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await onThread {
                            for _ in 0..<100 {
                                let wasOver = isOver.withLockedValue { $0 }
                                let error = gate.perform {
                                    let number = attempts.withLockedValue { number in
                                        number += 1
                                        return number
                                    }
                                    if number == failing { unreported.withLockedValue { $0 = EIO } }
                                    let taken = unreported.withLockedValue { error in
                                        defer { error = 0 }
                                        return error
                                    }
                                    if taken != 0 { isOver.withLockedValue { $0 = true } }
                                    return taken
                                }
                                #expect(!wasOver || error == EIO)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            if isOver.withLockedValue({ $0 }) { #expect(gate.error == EIO) }
        }
    }
}
