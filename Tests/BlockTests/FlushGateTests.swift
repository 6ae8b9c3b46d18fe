import Glibc
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Block

@Suite("Attempts to make an image durable")
struct FlushGateTests {
    private typealias Turns = NIOLockedValueBox<[String]>

    private func waiter(_ name: String, _ turns: Turns) -> FlushGate.Waiter {
        { turn in turns.withLockedValue { $0.append("\(name) \(turn)") } }
    }

    @Test("Attempts that come while one runs are covered by one attempt after it")
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

    @Test("After a failure, every attempt fails")
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

    /// The model is the kernel: the attempt that looks first consumes a write's error.
    @Test("Attempts that should cover a lost write fail, whichever of them consumes the kernel's error")
    func threads() async throws {
        var random = Seeded.fresh()
        for _ in 0..<100 {
            let gate = FlushGate()
            let unreported = NIOLockedValueBox(false)
            let isLost = NIOLockedValueBox(false)
            let losing = Int.random(in: 0..<60, using: &random)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for thread in 0..<4 {
                    group.addTask {
                        try await onThread {
                            for number in 0..<60 {
                                if thread == 0, number == losing {
                                    isLost.withLockedValue { $0 = true }
                                    unreported.withLockedValue { $0 = true }
                                }
                                // An attempt that begins after the write must fail if the write is lost already.
                                let mustFail = isLost.withLockedValue { $0 }
                                let error = gate.perform {
                                    sched_yield()
                                    let isMine = unreported.withLockedValue { isUnreported in
                                        defer { isUnreported = false }
                                        return isUnreported
                                    }
                                    sched_yield()
                                    return isMine ? EIO : 0
                                }
                                #expect(!mustFail || error == EIO)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(gate.error == EIO)
        }
    }
}
