@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// The node at which the disks of a guest are at first: they go together, and its process and machine go down with all of
/// them.
final class SimSourceNode: SimPart {
    private struct Answers {
        var isSwitchHeard = false
        var isSwitchRefused = false
        var isCancelHeard = false
    }

    let world: World
    let faults: Faults
    /// The only state store of all disks.
    let store: SimStore
    /// In the order of the disks.
    var disks: [SimSource] = []

    // What survives the process.
    /// The commit records that disks have in common, in the order of the attempts.
    private var common: [(group: MigrationID, record: SimRecord<Bool>)] = []

    // What does not.
    private(set) var isUp = true
    private var epoch = 0
    /// The attempt that is going on, or begins soon.
    private(set) var attempt: SimGroup?
    /// The answers that the operator has had in this series of attempts.
    private var answers = Answers()
    /// How many times slower than the link the operator lets data be sent.
    private(set) var slowness: UInt64 = 1
    /// Called at moments at which an operator may do the most harm.
    var worstMoment: () -> Void = {}

    init(world: World, faults: Faults) {
        self.world = world
        self.faults = faults
        store = SimStore(name: "source", world: world)
        world.add(self)
    }

    func letGo() {
        disks = []
        attempt = nil
        worstMoment = {}
    }

    /// Does something later, in this life of the node.
    func later(_ most: UInt64, _ action: @escaping () -> Void) {
        let born = epoch
        world.soon(most) { [self] in if epoch == born, isUp { action() } }
    }

    func exactly(_ delay: UInt64, _ action: @escaping () -> Void) {
        let born = epoch
        world.after(delay) { [self] in if epoch == born, isUp { action() } }
    }

    // MARK: Operators

    func migrate(_ switchover: Switchover) {
        guard isUp, attempt == nil, disks.allSatisfy({ $0.moved == nil }) else { return }
        answers = Answers()
        attempt = SimGroup(self, switchover, SwitchGroupMachine(count: disks.count))
        attempt!.begin()
    }

    func cancel() {
        guard let attempt else { return }
        let isHeard = isBetweenAttempts && faults.contains(.forgottenCancel) || attempt.cancel()
        answers.isCancelHeard = answers.isCancelHeard || isHeard
    }

    func switchOver() {
        guard let attempt else { return }
        if isBetweenAttempts, faults.contains(.refusedSwitch) { return answers.isSwitchRefused = true }
        let isHeard = isBetweenAttempts && faults.contains(.forgottenSwitch) || attempt.requestSwitch()
        if isHeard { answers.isSwitchHeard = true } else { answers.isSwitchRefused = true }
    }

    /// Whether an attempt has failed and the next one has not begun.
    private var isBetweenAttempts: Bool { attempt.map { !$0.hasBegun || $0.machine.failure != nil } ?? false }

    func limitRate(_ slowness: UInt64) {
        world.note("data is sent \(slowness) times slower")
        self.slowness = slowness
    }

    // MARK: Attempts

    /// No disk of an attempt is on its way any more.
    func attemptEnded(_ group: SimGroup) {
        guard attempt === group else { return }
        attempt = nil
        guard !group.machine.isCommitted, isUp, let next = group.next() else { return }
        attempt = next
        later(20_000) { [self] in
            guard attempt === next else { return }
            checkAnswers(next.machine)
            next.begin()
        }
    }

    /// The next attempt acts on the requests that the operator has made since the series began, as they were answered.
    private func checkAnswers(_ machine: SwitchGroupMachine) {
        // It was cancelled before it has begun, and ends at once.
        guard !machine.isCancelled else { return }
        world.check(!answers.isSwitchRefused, "a switch came too late, and the migration goes on")
        world.check(!answers.isSwitchHeard || machine.isSwitchRequested, "the next attempt does not know of a switch")
        world.check(!answers.isCancelHeard, "a migration that was cancelled goes on")
    }

    // MARK: The common record

    /// Whether the commit record of a group is there, as this machine's kernel shows it.
    func isCommitted(_ group: MigrationID) -> Bool {
        common.first { $0.group == group }?.record.visible ?? false
    }

    /// Writes or removes the commit record of a group.
    func writeCommon(_ group: MigrationID, _ isThere: Bool) -> CommitAttempt.Outcome {
        if let index = common.firstIndex(where: { $0.group == group }) {
            return common[index].record.write(isThere, store, world)
        }
        common.append((group, SimRecord(false)))
        return common[common.count - 1].record.write(isThere, store, world)
    }

    /// All disks of the group have moved, or none has.
    func checkUnity(_ where: String) {
        let moved = disks.count { $0.moved != nil }
        world.check(
            moved == 0 || moved == disks.count, "\(`where`): \(moved) of \(disks.count) disks of a guest have moved")
    }

    // MARK: Lives

    func crash(ofMachine: Bool) {
        guard isUp else { return }
        world.note("source \(ofMachine ? "machine" : "process") crashes")
        isUp = false
        epoch += 1
        attempt = nil
        for disk in disks { disk.processEnded(ofMachine: ofMachine) }
        if ofMachine { for index in common.indices { common[index].record.crash(world) } }
        for disk in disks { disk.crashed(ofMachine: ofMachine) }
    }

    func restart() {
        guard !isUp else { return }
        guard settleCommon(), disks.allSatisfy({ $0.settleRecord() }) else {
            return world.after(10_000) { [self] in restart() }
        }
        isUp = true
        world.note("source starts")
        for disk in disks { disk.start() }
        checkUnity("after a restart")
        worstMoment()
    }

    /// Makes the records of disks that were given away together, in an earlier life, stand by themselves.
    /// - Returns: false where something may not be durable.
    private func settleCommon() -> Bool {
        for index in common.indices where common[index].record.visible {
            let group = common[index].group
            // A life that has ended may have seen it without its being durable.
            if common[index].record.isInDoubt, !faults.contains(.trustedRecord) {
                guard common[index].record.write(true, store, world) == .confirmed else { return false }
            }
            guard disks.allSatisfy({ $0.separate(from: group) }) else { return false }
            guard common[index].record.write(false, store, world) == .confirmed else { return false }
        }
        // One may have been removed by a life that ended before that was durable.
        for index in common.indices where common[index].record.isInDoubt && !faults.contains(.trustedRecord) {
            guard common[index].record.write(false, store, world) == .confirmed else { return false }
        }
        return true
    }
}
