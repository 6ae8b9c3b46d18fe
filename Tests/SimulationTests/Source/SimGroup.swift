@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// One attempt to move the disks of a guest: performs what `SwitchGroupMachine` decides, as `SwitchGroup` does, in simulated
/// time.
final class SimGroup: SimPart {
    private struct Waiting {
        let meeting: SwitchAgreement.Meeting
        let done: ((any Error)?) -> Void
    }

    let id = MigrationID()
    let switchover: Switchover
    private(set) var machine: SwitchGroupMachine
    private let node: SimSourceNode
    private var disks: [SimMigration] = []
    private var waiting: [Waiting] = []
    /// The pause of the commit attempt that is going on.
    private var pause = 0
    private var afterPause: () -> Void = {}
    /// The operator has given it up before anything was in doubt.
    private var isGivenUp = false
    private var ended = 0
    private(set) var hasBegun = false

    init(_ node: SimSourceNode, _ switchover: Switchover, _ machine: SwitchGroupMachine) {
        self.node = node
        self.switchover = switchover
        self.machine = machine
        node.world.add(self)
    }

    func letGo() {
        disks = []
        waiting = []
        afterPause = {}
    }

    private var world: World { node.world }
    var count: Int { machine.count }

    func begin() {
        hasBegun = true
        disks = node.disks.enumerated().map { SimMigration($0.element, self, member: $0.offset) }
        for disk in disks { disk.begin() }
    }

    /// The process goes down.
    func processEnded() {
        for disk in disks { disk.processEnded() }
    }

    /// A disk is not on its way any more.
    func diskEnded() {
        ended += 1
        if ended == count { node.attemptEnded(self) }
    }

    /// The next attempt, which has not begun; nil where none follows.
    func next() -> SimGroup? {
        machine.next(wasAccepted: disks.contains(where: \.wasAccepted)).map { SimGroup(node, switchover, $0) }
    }

    // MARK: Events

    /// - Returns: false where it comes too late.
    @discardableResult
    func requestSwitch() -> Bool {
        guard let actions = machine.requestSwitch() else { return false }
        perform(actions)
        return true
    }

    /// - Returns: false where it comes too late.
    func cancel() -> Bool {
        let isInDoubt = machine.isInDoubt
        guard let actions = machine.cancel() else { return false }
        world.note("cancel")
        if !isInDoubt { isGivenUp = true }
        perform(actions)
        return true
    }

    /// - Parameter kind: nil for what the error is.
    func fail(_ error: any Error, _ kind: SwitchGroupMachine.FailureKind? = nil) {
        let isFirst = machine.failure == nil
        guard let actions = machine.fail(error, kind ?? .init(of: error)) else { return }
        perform(actions)
        if isFirst { node.worstMoment() }
    }

    /// - Returns: false where none of them goes.
    func connect(_ disk: Int) -> Bool { machine.connect(disk) == nil }

    func disconnect(_ disk: Int) { machine.disconnect(disk) }

    func note(_ disk: Int, isReady: Bool) -> (isClosed: Bool, isAssembled: Bool) {
        machine.note(disk, isReady: isReady)
        return (machine.isClosed, machine.isAssembled)
    }

    /// - Parameter done: told why none goes, or nil.
    func meet(_ disk: Int, at meeting: SwitchAgreement.Meeting, _ done: @escaping ((any Error)?) -> Void) {
        _ = arrive(disk, at: meeting, done)
    }

    /// - Parameters:
    ///   - record: of a disk that goes alone.
    ///   - done: told why none has been given away, or nil where all have.
    func commit(_ disk: Int, _ record: SimSource.Moved, _ done: @escaping ((any Error)?) -> Void) {
        guard arrive(disk, at: .commit, done) else { return }
        step(machine.perform, record, disks[disk].source, done)
    }

    /// A disk's record counts without the common one now.
    func recordStands() {
        let isLast = machine.recordStands()
        guard isLast || node.faults.contains(.forgottenCommon) else { return }
        _ = node.writeCommon(id, false)
    }

    /// - Returns: whether the disk is the last one.
    private func arrive(
        _ disk: Int, at meeting: SwitchAgreement.Meeting, _ done: @escaping ((any Error)?) -> Void
    ) -> Bool {
        switch machine.arrive(disk, at: meeting) {
        case .refused(let error):
            done(error)
            return false
        case .waits:
            waiting.append(Waiting(meeting: meeting, done: done))
            return false
        case .last(let actions):
            perform(actions)
            if meeting != .commit { done(nil) }
            return true
        }
    }

    // MARK: The commit record

    private func step(
        _ step: CommitAttempt.Step, _ record: SimSource.Moved, _ source: SimSource,
        _ done: @escaping ((any Error)?) -> Void
    ) {
        node.worstMoment()
        let isThere = step == .write
        if node.faults.contains(.lateWord), isThere {
            // Nothing is durable yet.
            node.later(3000) { [self] in _ = write(isThere, record, source) }
            return stepEnded(.confirmed, record, source, done)
        }
        node.later(1500) { [self] in
            let outcome = write(isThere, record, source)
            node.later(500) { [self] in
                let isForgotten = node.faults.contains(.forgottenCommit) && outcome == .unknown
                stepEnded(isForgotten ? .unchanged : outcome, record, source, done)
            }
        }
    }

    private func write(_ isThere: Bool, _ record: SimSource.Moved, _ source: SimSource) -> CommitAttempt.Outcome {
        count == 1 ? source.write(isThere ? record : nil) : node.writeCommon(id, isThere)
    }

    private func stepEnded(
        _ outcome: CommitAttempt.Outcome, _ record: SimSource.Moved, _ source: SimSource,
        _ done: @escaping ((any Error)?) -> Void
    ) {
        let (end, actions) = machine.stepEnded(outcome, outcome == .confirmed ? nil : SimStore.Failure())
        perform(actions)
        switch end {
        case .committed:
            world.check(!isGivenUp, "a disk is given away that was given up for certain")
            done(nil)
        case .failed(let error): done(error)
        case .pause(let milliseconds):
            world.note("the commit record is in doubt")
            pause += 1
            let number = pause
            afterPause = { [self] in
                guard pause == number else { return }
                pause += 1
                afterPause = {}
                self.step(machine.pauseEnded(), record, source, done)
            }
            node.exactly(UInt64(milliseconds) * 1000 + 1) { [self] in if pause == number { afterPause() } }
            node.worstMoment()
        }
    }

    // MARK: Actions

    private func perform(_ actions: [SwitchGroupMachine.Action]?) {
        for action in actions ?? [] {
            switch action {
            case .letGo(let meeting): resume(meeting, nil)
            case .stopWaiting(let meeting, let error): resume(meeting, error)
            case .wake: for disk in disks { node.later(50) { disk.wake() } }
            case .endPause:
                let afterPause = self.afterPause
                node.later(50) { afterPause() }
            case .cancel(let disk, let reason): disks[disk].sayFarewell(reason)
            case .close(let disk): disks[disk].close()
            case .report(_, let text): world.note(text)
            }
        }
    }

    /// - Parameter meeting: nil for any.
    private func resume(_ meeting: SwitchAgreement.Meeting?, _ error: (any Error)?) {
        let woken = waiting.filter { meeting == nil || $0.meeting == meeting }
        waiting.removeAll { meeting == nil || $0.meeting == meeting }
        for disk in woken { node.later(50) { disk.done(error) } }
    }
}
