import NIOCore
import TestSupport
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("The two state machines of a migration")
struct StateMachineTests {
    private static let offer = Offer(
        migration: MigrationID(), abandoned: [], export: "disk", size: 10_000, blockSize: 4096)
    private static let root = DiskRoot(Array(repeating: 7, count: 32))

    /// Everything that a source may say, right or wrong.
    private static let messages: [Message] = [
        .offer(offer), .manifest(ManifestSegment(first: 0, entries: [.zero, .later])), .manifestEnd,
        .zeros(BlockRange(first: 0, count: 3)), .zeros(BlockRange(first: 2, count: .max)),
        .data(DataSegment(runs: [BlockRange(first: 2, count: 1)], compressed: ByteBuffer(bytes: [1]))),
        .data(DataSegment(runs: [BlockRange(first: 2, count: 2)], compressed: ByteBuffer())),
        .data(DataSegment(runs: [], compressed: ByteBuffer())),
        .roundEnd(1), .roundEnd(2), .prepare(root), .commit, .cancel(reason: ""),
        .accepted, .active, .prepared(root),
        .request(
            RemoteRequest(
                id: 1, kind: .write, isForced: false, mayPunchHole: true, offset: 0, length: 0,
                payload: ByteBuffer())),
    ]

    @Test("Invariant 5: no sequence of messages activates a disk that was not prepared, or has been given up")
    func exhaustive() {
        func walk(_ machine: DestinationMachine, isPrepared: Bool, isOver: Bool, depth: Int) -> Int {
            guard depth > 0 else { return 1 }
            var paths = 0
            for message in Self.messages {
                var next = machine
                guard let action = try? next.receive(message) else { continue }
                #expect(!isOver, "\(message) was heard after the end")
                var prepared = isPrepared
                switch action {
                case .activate:
                    #expect(isPrepared)
                    next.activated()
                case .prepare:
                    next.prepared()
                    prepared = true
                case .store(_, let bytes):
                    #expect(bytes == 10_000 - 2 * 4096, "the last block is shorter")
                case .clear(let blocks):
                    #expect(blocks.upperBound <= 3)
                default: break
                }
                let isOver = next.state == .active || next.state == .abandoned
                paths += walk(next, isPrepared: prepared, isOver: isOver, depth: depth - 1)
            }
            return paths
        }
        #expect(walk(DestinationMachine(), isPrepared: false, isOver: false, depth: 6) > 100)
    }

    @Test(
        "A disk that can't be is refused",
        arguments: [
            (0 as UInt64, 4096 as UInt32, "disk"), (1 << 63, 4096, "disk"), (4096, 0, "disk"),
            (4096, 4097, "disk"),
            (4096, 256, "disk"), (4096, 131072, "disk"), (4096, 4096, "../disk"), (4096, 4096, ".disk"),
            (4096, 4096, ""),
            (4096, 4096, "a\u{0}b"), (4096, 4096, String(repeating: "x", count: 201)),
        ])
    func refused(_ size: UInt64, _ blockSize: UInt32, _ export: String) {
        var machine = DestinationMachine()
        let offer = Offer(
            migration: MigrationID(), abandoned: [], export: export, size: size, blockSize: blockSize)
        #expect(throws: MigrationError.self) { try machine.receive(.offer(offer)) }
        #expect(machine.state == .waiting)
    }

    @Test("Invariant 6: up to the commit everything can be undone, and after it nothing")
    func undo() throws {
        var machine = SourceMachine()
        func undone(_ machine: SourceMachine) -> SourceMachine.Undo? {
            var copy = machine
            return copy.abandon()
        }
        #expect(undone(machine) == .nothing)
        machine.accepted()
        #expect(undone(machine) == .stopTracking)
        #expect(machine.nextRound() == 2)
        #expect(undone(machine) == .stopTracking)
        #expect(machine.fence() == 3)
        #expect(undone(machine) == .stopTrackingAndUnfence)
        try machine.prepared(source: Self.root, destination: Self.root)
        #expect(undone(machine) == .stopTrackingAndUnfence)
        machine.committed()
        #expect(undone(machine) == nil)
        machine.moved()
        #expect(undone(machine) == nil)
    }

    private func copying(_ switchover: Switchover) -> SourceMachine {
        var machine = SourceMachine(switchover: switchover)
        machine.accepted()
        return machine
    }

    private func after(_ pause: Double, clean: Bool = false) -> SourceMachine.Situation {
        let dirty: UInt64 = clean ? 0 : 1 << 20
        return SourceMachine.Situation(expectedPause: pause, maximumPause: 0.2, dirty: dirty, settled: dirty)
    }

    private func expect(
        _ machine: inout SourceMachine, _ situation: SourceMachine.Situation, _ decision: SourceMachine.Decision
    ) {
        let found = machine.decide(situation)
        #expect(found == decision)
    }

    @Test("It is enough when the pause is short enough, or when copying does not get there")
    func decides() {
        var machine = copying(.converged)
        expect(&machine, after(8), .copy(.settled))
        expect(&machine, after(4), .copy(.settled))
        expect(&machine, after(0.1), .copy(.settled))
        expect(&machine, after(0.09), .handOver(leavesRest: false))

        machine = copying(.converged)
        expect(&machine, after(8), .copy(.settled))
        expect(&machine, after(0.1), .copy(.settled))
        expect(&machine, after(0.01), .handOver(leavesRest: false))

        machine = copying(.converged)
        expect(&machine, after(8), .copy(.settled))
        expect(&machine, after(8), .copy(.settled))
        expect(&machine, after(4), .handOver(leavesRest: true))

        machine = copying(.converged)
        machine.needsWholeDisk()
        for _ in 0..<10 { expect(&machine, after(8), .copy(.settled)) }
    }

    @Test("What may be handed over whole may be so a moment later, where nothing has changed")
    func agreesWithItself() {
        var random = Seeded.fresh()
        for _ in 0..<2000 {
            var machine = SourceMachine(maximumRounds: Int.random(in: 1...4, using: &random))
            machine.accepted()
            if Bool.random(using: &random) { machine.needsWholeDisk() }
            for _ in 0..<6 {
                let dirty = UInt64.random(in: 0...5, using: &random)
                let least = Double.random(in: 0...0.4, using: &random)
                let situation = SourceMachine.Situation(
                    expectedPause: least + Double(dirty) * Double.random(in: 0...0.1, using: &random),
                    maximumPause: 0.2, leastPause: least, dirty: dirty,
                    settled: UInt64.random(in: 0...dirty, using: &random),
                    threshold: UInt64.random(in: 0...1, using: &random))
                if machine.decide(situation) == .handOver(leavesRest: false) {
                    #expect(machine.couldGo(situation), "\(situation)")
                }
                _ = machine.nextRound()
            }
        }
    }

    @Test("The operator's limits: so many rounds, or so little that is left")
    func limits() {
        var machine = SourceMachine(maximumRounds: 2)
        machine.accepted()
        expect(&machine, after(8), .copy(.settled))
        _ = machine.nextRound()
        expect(&machine, after(4), .handOver(leavesRest: true))

        machine = SourceMachine(maximumRounds: 1)
        machine.accepted()
        machine.needsWholeDisk()
        expect(&machine, after(4), .handOver(leavesRest: false))

        machine = copying(.converged)
        var situation = after(8)
        situation.threshold = situation.dirty - 1
        expect(&machine, situation, .copy(.settled))
        situation.threshold = situation.dirty
        expect(&machine, situation, .handOver(leavesRest: false))
    }

    @Test("Whoever waits for the disk gets it at once", arguments: [Switchover.manual, .firstWrite])
    func decidesOnRequest(_ switchover: Switchover) {
        var machine = copying(switchover)
        expect(&machine, after(8), .copy(.settled))
        expect(&machine, after(0.1), .wait)
        expect(&machine, after(9, clean: true), .wait)
        #expect(!machine.skipsCopying)
        let first = machine.requestSwitch()
        #expect(first)
        #expect(machine.skipsCopying)
        expect(&machine, after(8), .handOver(leavesRest: true))
        _ = machine.fence()
        let second = machine.requestSwitch()
        #expect(second, "it is under way")
        machine.committed()
        let third = machine.requestSwitch()
        #expect(!third, "it has been done")
        #expect(copying(.now).skipsCopying)
    }

    @Test("Invariant 8: different roots stop the hand-over")
    func rootsDiffer() {
        var machine = SourceMachine()
        machine.accepted()
        _ = machine.fence()
        let other = DiskRoot(Array(repeating: 8, count: 32))
        #expect(throws: MigrationError.self) { try machine.prepared(source: Self.root, destination: other) }
    }
}
