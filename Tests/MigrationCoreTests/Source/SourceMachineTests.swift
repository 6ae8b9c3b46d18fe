import BlockModel
import Hashing
import NIOCore
import TestSupport
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("The source's decisions")
struct SourceMachineTests {
    typealias Step = SourceMachine.Step

    static let root = DiskRoot(Array(repeating: 7, count: 32))
    static let other = DiskRoot(Array(repeating: 8, count: 32))
    static let geometry = BlockGeometry(size: 10 * 4096, blockSize: 4096)!

    static func machine(
        _ switchover: Switchover = .converged, rounds: Int = .max, disks: Int = 1
    ) -> SourceMachine {
        SourceMachine(size: geometry.size, switchover: switchover, maximumRounds: rounds, disks: disks)
    }

    /// A machine that copies its first round.
    static func copying(
        _ switchover: Switchover = .converged, rounds: Int = .max, disks: Int = 1, postcopy: Bool = true
    ) throws -> SourceMachine {
        var machine = machine(switchover, rounds: rounds, disks: disks)
        var support = ProtocolSupport.own
        if !postcopy { support.capabilities.remove(.postcopy) }
        _ = try machine.receive(.welcome(Welcome(support: support, blockSize: 4096)))
        _ = try machine.receive(.accepted)
        _ = machine.opened()
        _ = machine.met()
        _ = machine.started()
        return machine
    }

    /// One at the end of its first round.
    static func measuring(
        _ switchover: Switchover = .converged, rounds: Int = .max, disks: Int = 1, postcopy: Bool = true
    ) throws -> SourceMachine {
        var machine = try copying(switchover, rounds: rounds, disks: disks, postcopy: postcopy)
        holds(machine.copied() == .endRound(1))
        holds(try machine.receive(.roundDone(1)) == .next(.connect))
        holds(machine.connected() == .measure)
        return machine
    }

    /// One behind the fence.
    static func fenced(leavesRest: Bool, disks: Int = 1) throws -> SourceMachine {
        var machine = try measuring(disks: disks)
        if leavesRest {
            machine.requestSwitch()
            holds(machine.measured(after(8)) == .agree(isReady: true))
            holds(machine.agreed(isClosed: false, isAssembled: false) == .flush)
            holds(machine.flushed() == .meetBeforeFence)
        } else {
            holds(machine.measured(after(0)) == .agree(isReady: true))
            holds(machine.agreed(isClosed: true, isAssembled: true) == .meetBeforeFence)
        }
        holds(machine.met() == .fence)
        holds(machine.fenced() == (leavesRest ? .nameRest : .sendRest(round: 2)))
        return machine
    }

    /// One that waits for the commit record.
    static func committing() throws -> SourceMachine {
        var machine = try fenced(leavesRest: false)
        _ = try machine.receive(.roundDone(2))
        holds(try machine.receive(.prepared(root)) == .next(.compare(root)))
        holds(try machine.compared(source: root, destination: root) == .commit)
        return machine
    }

    static func after(_ pause: Double, clean: Bool = false) -> SourceMachine.Situation {
        let dirty: UInt64 = clean ? 0 : 1 << 20
        return SourceMachine.Situation(expectedPause: pause, maximumPause: 0.2, dirty: dirty, settled: dirty)
    }

    /// Expects a decision, and that the next round is sent where there is one.
    private func expect(
        _ machine: inout SourceMachine, _ situation: SourceMachine.Situation, _ decision: SourceMachine.Decision
    ) throws {
        let round = machine.round
        switch decision {
        case .copy(let scope):
            holds(machine.measured(situation) == .copy(round: round + 1, scope))
            holds(machine.copied() == .endRound(round + 1))
            holds(try machine.receive(.roundDone(UInt32(round + 1))) == .next(.measure))
        case .wait:
            holds(machine.measured(situation) == .wait)
            holds(machine.waited() == .measure)
        case .switchOver(let leavesRest):
            holds(machine.measured(situation) == .agree(isReady: true))
            var closed = machine
            let left: Step = machine.skipsCopying ? .flush : .flushCopying(round: round)
            let next: Step = leavesRest ? left : .meetBeforeFence
            holds(closed.agreed(isClosed: true, isAssembled: true) == next)
        }
    }

    // MARK: Rounds

    @Test("The downtime is short enough, or copying does not get there -> the switchover begins")
    func decides() throws {
        var machine = try Self.measuring()
        try expect(&machine, Self.after(8), .copy(.settled))
        try expect(&machine, Self.after(4), .copy(.settled))
        try expect(&machine, Self.after(0.1), .copy(.settled))
        try expect(&machine, Self.after(0.09), .switchOver(leavesRest: false))

        machine = try Self.measuring()
        try expect(&machine, Self.after(8), .copy(.settled))
        try expect(&machine, Self.after(0.1), .copy(.settled))
        try expect(&machine, Self.after(0.01), .switchOver(leavesRest: false))

        machine = try Self.measuring()
        try expect(&machine, Self.after(8), .copy(.settled))
        try expect(&machine, Self.after(8), .copy(.settled))
        try expect(&machine, Self.after(4), .switchOver(leavesRest: true))

        machine = try Self.measuring(postcopy: false)
        for _ in 0..<10 { try expect(&machine, Self.after(8), .copy(.settled)) }
    }

    @Test("A disk that could go whole -> could go a moment later, where nothing has changed")
    func agreesWithItself() throws {
        var random = Seeded.fresh()
        for _ in 0..<2000 {
            var machine = try Self.measuring(
                rounds: Int.random(in: 1...4, using: &random), disks: 2, postcopy: Bool.random(using: &random))
            for _ in 0..<6 {
                let dirty = UInt64.random(in: 0...5, using: &random)
                let least = Double.random(in: 0...0.4, using: &random)
                let situation = SourceMachine.Situation(
                    expectedPause: least + Double(dirty) * Double.random(in: 0...0.1, using: &random),
                    maximumPause: 0.2, leastPause: least, dirty: dirty,
                    settled: UInt64.random(in: 0...dirty, using: &random),
                    threshold: UInt64.random(in: 0...1, using: &random))
                guard case .copy(let round, _) = machine.measured(situation) else {
                    holds(machine.agreed(isClosed: false, isAssembled: false) == .awaitOthers)
                    holds(machine.phase == .waiting)
                    holds(machine.measuredAgain(situation) == .agree(isReady: true), "\(situation)")
                    break
                }
                _ = machine.copied()
                _ = try machine.receive(.roundDone(UInt32(round)))
            }
        }
    }

    @Test("The operator's limits of rounds and of what is left -> the switchover begins")
    func limits() throws {
        var machine = try Self.measuring(rounds: 2)
        try expect(&machine, Self.after(8), .copy(.settled))
        try expect(&machine, Self.after(4), .switchOver(leavesRest: true))

        machine = try Self.measuring(rounds: 1, postcopy: false)
        try expect(&machine, Self.after(4), .switchOver(leavesRest: false))

        machine = try Self.measuring()
        var situation = Self.after(8)
        situation.threshold = situation.dirty - 1
        try expect(&machine, situation, .copy(.settled))
        situation.threshold = situation.dirty
        try expect(&machine, situation, .switchOver(leavesRest: false))
    }

    @Test("The disk is wanted at the destination -> it goes at once", arguments: [Switchover.manual, .firstWrite])
    func decidesOnRequest(_ switchover: Switchover) throws {
        var machine = try Self.measuring(switchover)
        try expect(&machine, Self.after(8), .copy(.settled))
        try expect(&machine, Self.after(0.1), .wait)
        try expect(&machine, Self.after(9, clean: true), .wait)
        holds(!machine.skipsCopying)
        holds(machine.requestSwitch() && machine.skipsCopying)
        try expect(&machine, Self.after(8), .switchOver(leavesRest: true))
    }

    @Test("The disk is wanted in any step of the rounds -> the next step begins the switchover")
    func wantedAnywhere() throws {
        var wanted = try Self.copying(.manual)
        wanted.requestSwitch()
        holds(wanted.copied() == .flush)
        wanted = try Self.measuring(.manual)
        holds(wanted.measured(Self.after(0)) == .wait)
        wanted.requestSwitch()
        holds(wanted.waited() == .flush)
        wanted = try Self.measuring(.converged, disks: 2)
        _ = wanted.measured(Self.after(0))
        wanted.requestSwitch()
        holds(wanted.agreed(isClosed: false, isAssembled: false) == .flush)
        var now = Self.machine(.now)
        _ = try now.receive(.welcome(Welcome(blockSize: 4096)))
        _ = try now.receive(.accepted)
        holds(now.opened() == .meetBeforeCopying)
        holds(now.met() == .start(isReadyAtOnce: true, expects: nil))
        holds(now.started() == .flush)
    }

    @Test("A disk waits for others -> it copies nothing before each could have gone once")
    func assembles() throws {
        var machine = try Self.measuring(disks: 2)
        holds(machine.measured(Self.after(0)) == .agree(isReady: true))
        holds(machine.agreed(isClosed: false, isAssembled: false) == .awaitOthers)
        holds(machine.measuredAgain(Self.after(8)) == .agree(isReady: false))
        holds(machine.agreed(isClosed: false, isAssembled: false) == .awaitOthers)
        holds(machine.measuredAgain(Self.after(8)) == .agree(isReady: false))
        holds(machine.agreed(isClosed: false, isAssembled: true) == .measure)
    }

    @Test("A rest is left by a disk that goes alone -> it is named ahead of the fence; with others, it is not")
    func namesAhead() throws {
        for disks in 1...2 {
            var machine = try Self.measuring(rounds: 1, disks: disks)
            holds(machine.measured(Self.after(8)) == .agree(isReady: true))
            let next = machine.agreed(isClosed: true, isAssembled: true)
            guard disks == 1 else {
                holds(next == .flush)
                continue
            }
            holds(next == .flushCopying(round: 1))
            holds(machine.flushed() == .nameAhead(round: 2))
            #expect(throws: MigrationError.self) {
                var copy = machine
                _ = try copy.receive(.roundDone(1))
            }
            holds(try machine.receive(.roundDone(2)) == .named)
            #expect(throws: MigrationError.self) { try machine.receive(.roundDone(2)) }
            holds(machine.named(repeats: true) == .nameAhead(round: 3))
            holds(try machine.receive(.roundDone(3)) == .named)
            machine.requestSwitch()
            holds(machine.named(repeats: true) == .flush)
        }
    }

    // MARK: Switchover

    @Test("Invariant 6: up to the commit record everything can be undone, and after it nothing")
    func undo() throws {
        func undone(_ machine: SourceMachine, isInDoubt: Bool = false) -> SourceMachine.Undo? {
            var copy = machine
            defer { holds(copy.step == .finish || copy == machine) }
            return copy.abandon(isInDoubt: isInDoubt)
        }
        holds(undone(Self.machine()) == .nothing)
        holds(undone(try Self.copying()) == .stopTracking)
        holds(undone(try Self.measuring()) == .stopTracking)
        for leavesRest in [false, true] {
            holds(undone(try Self.fenced(leavesRest: leavesRest)) == .stopTrackingAndUnfence)
        }
        var machine = try Self.committing()
        holds(undone(machine) == .stopTrackingAndUnfence)
        holds(undone(machine, isInDoubt: true) == .stopTrackingAndClose)
        holds(machine.committed() == .forward)
        holds(undone(machine) == nil)
        holds(!machine.requestSwitch())
        holds(machine.forwarded() == .awaitActive)
        holds(undone(machine) == nil)
        holds(machine.moved(isNeeded: true) == .supplyRest)
        holds(undone(machine) == nil)
        holds(machine.released() == .finish)
        holds(undone(machine) == nil)
    }

    @Test("Invariant 8: the roots differ -> the disk is not given away")
    func rootsDiffer() throws {
        var machine = try Self.fenced(leavesRest: true)
        holds(try machine.receive(.prepared(Self.other)) == .next(.compare(Self.other)))
        #expect(throws: MigrationError.self) {
            try machine.compared(source: Self.root, destination: Self.other)
        }
        holds(machine.abandon() == .stopTrackingAndUnfence)
    }

    @Test("What is said to be missing -> must be blocks of the disk, in ascending order")
    func missing() throws {
        var machine = try Self.fenced(leavesRest: true)
        let first: SourceMachine.Reception = .missing([1..<3, 4..<5])
        holds(
            try machine.receive(.postcopy(.missing([BlockRange(1..<3), BlockRange(4..<5)]))) == first)
        holds(try machine.receive(.postcopy(.missing([BlockRange(5..<6)]))) == .missing([5..<6]))
        for bad in [
            BlockRange(first: 5, count: 1), BlockRange(first: 9, count: 2), BlockRange(first: 7, count: 0),
            BlockRange(first: 7, count: .max),
        ] {
            var copy = machine
            #expect(throws: MigrationError.self) { try copy.receive(.postcopy(.missing([bad]))) }
        }
    }

    @Test("Each step -> the phase that `nearblock status` shows")
    func phases() throws {
        holds(Self.machine().phase.rawValue == "connecting")
        holds(try Self.copying().phase.rawValue == "copying")
        var waiting = try Self.measuring(.manual)
        _ = waiting.measured(Self.after(0))
        holds(waiting.phase.rawValue == "waiting")
        var machine = try Self.committing()
        holds(machine.phase.rawValue == "fenced")
        _ = machine.committed()
        holds(machine.phase.rawValue == "fenced")
        _ = machine.forwarded()
        holds(machine.phase.rawValue == "moved")
        _ = machine.moved(isNeeded: true)
        holds(machine.phase.rawValue == "post-copy")
        var again = Self.machine()
        again.awaitReconnection()
        holds(again.phase.rawValue == "reconnecting")
    }
}
