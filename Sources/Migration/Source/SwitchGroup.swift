import Block
import MigrationCore
import MigrationProtocol
import NIOCore
import Peer

/// Brings the disks of one guest to one switchover. It performs the actions of `SwitchGroupMachine`; the tasks of the
/// disks wait here for each other.
final class SwitchGroup: Sendable {
    typealias Doubt = SwitchGroupMachine.Doubt

    private struct State {
        var machine: SwitchGroupMachine
        /// How often the disks that wait for a switch were told to look again.
        var wakes: UInt64 = 0
        /// The meetings that have ended, and how.
        var ended: [SwitchAgreement.Meeting: Result<Void, any Error>] = [:]
        var links: [Int: SourceLink] = [:]
        /// The last messages to the destination, by disk.
        var farewells: [Int: Task<Bool, Never>] = [:]

        /// With the lock: a task that is woken finds all that belongs to the same event.
        /// - Returns: reports to the operator, which are made without it.
        mutating func perform(_ actions: [SwitchGroupMachine.Action]) -> [(isBad: Bool, text: String)] {
            actions.compactMap { action in
                switch action {
                case .letGo(let meeting): ended[meeting] = .success(())
                case .stopWaiting(let meeting, let error):
                    let meetings = meeting.map { [$0] } ?? SwitchAgreement.Meeting.allCases
                    for meeting in meetings where ended[meeting] == nil { ended[meeting] = .failure(error) }
                case .wake: wakes += 1
                // The pause looks at the machine.
                case .endPause: break
                case .cancel(let disk, let reason):
                    farewells[disk] = links[disk].map { link in Task { await link.cancel(reason) } }
                case .close(let disk):
                    farewells[disk] = links[disk].map { link in
                        Task {
                            link.close()
                            return false
                        }
                    }
                case .report(let isBad, let text): return (isBad, text)
                }
                return nil
            }
        }
    }

    /// Names it in the records of its disks.
    let id = MigrationID()
    /// How many disks there are.
    let count: Int
    private let state: WatchedValue<State>

    /// - Parameters:
    ///   - count: of disks, at least 1.
    ///   - series: the attempts of which this is one.
    convenience init(count: Int, series: AttemptSeries = AttemptSeries()) {
        self.init(SwitchGroupMachine(count: count, series: series))
    }

    private init(_ machine: SwitchGroupMachine) {
        count = machine.count
        state = WatchedValue(State(machine: machine))
    }

    private func look<Result>(_ body: (SwitchGroupMachine) -> Result) -> Result {
        state.withLockedValue { body($0.machine) }
    }

    /// - Returns: false where the event comes too late.
    private func perform(_ event: (inout SwitchGroupMachine) -> [SwitchGroupMachine.Action]?) -> Bool {
        state.withLockedValue { state in
            guard let actions = event(&state.machine) else { return false }
            let reports = state.perform(actions)
            precondition(reports.isEmpty, "only the commit attempt reports")
            return true
        }
    }

    // MARK: The moment

    /// Whether somebody wants the disks at the destination.
    var isSwitchRequested: Bool { look { $0.isSwitchRequested } }

    /// Switches all of them over now; if the attempt has failed, in the next one.
    /// - Returns: false where that has been done, or no attempt follows.
    func requestSwitch() -> Bool { perform { $0.requestSwitch() } }

    /// Returns once somebody wants the disks at the destination, a connection has ended, or the time is over.
    /// - Throws: why none of them goes; `CancellationError`.
    func waitForSwitch(atMost limit: Duration) async throws {
        try await wait(atMost: limit) { $0.isWaitOver }
    }

    /// Returns once all disks are to go, the others wait for this one, or the time is over. Also if somebody asks for the disks
    /// meanwhile, or a connection ends.
    /// - Throws: why none of them goes; `CancellationError`.
    func waitForOthers(_ disk: Int, atMost limit: Duration) async throws {
        try await wait(atMost: limit) { $0.isWaitForOthersOver(of: disk) }
    }

    /// Returns once none of them goes, the time is over, or the task is cancelled.
    func waitForFailure(atMost limit: Duration) async {
        await state.wait(until: { $0.machine.failure != nil }, atMost: limit)
    }

    private func wait(
        atMost limit: Duration, until isOver: @escaping @Sendable (SwitchGroupMachine) -> Bool
    ) async throws {
        let wakes = state.withLockedValue { $0.wakes }
        await state.wait(until: { isOver($0.machine) || $0.wakes != wakes }, atMost: limit)
        if let failure { throw failure }
        try Task.checkCancellation()
    }

    /// Lets the disks that wait for a switch look at their connections.
    func wake() { state.withLockedValue { _ = $0.perform([.wake]) } }

    /// A disk could go now, or could not any more.
    /// - Returns: whether all could at one moment, so that they are to go; and whether each could have gone once.
    func note(_ disk: Int, isReady: Bool) -> (isClosed: Bool, isAssembled: Bool) {
        state.withLockedValue { state in
            state.machine.note(disk, isReady: isReady)
            return (state.machine.isClosed, state.machine.isAssembled)
        }
    }

    /// Returns once the destination has taken the offers of all of them, before any data of any of them is sent.
    /// - Throws: why none of them goes.
    func meetBeforeCopying(_ disk: Int) async throws { _ = try await arrive(disk, at: .accepted) }

    /// Returns once all of them are here, before any of them holds its guest back.
    /// - Throws: why none of them goes.
    func meetBeforeFence(_ disk: Int) async throws { _ = try await arrive(disk, at: .fence) }

    /// Notes that a disk has come to a meeting, and waits for what that is for.
    /// - Returns: true at once for the last disk.
    /// - Throws: why none of them goes.
    private func arrive(_ disk: Int, at meeting: SwitchAgreement.Meeting) async throws -> Bool {
        let isLast = try state.withLockedValue { state in
            switch state.machine.arrive(disk, at: meeting) {
            case .refused(let error): throw error
            case .waits: return false
            case .last(let actions):
                _ = state.perform(actions)
                return true
            }
        }
        if isLast { return true }
        await state.wait { $0.ended[meeting] != nil }
        try state.withLockedValue { $0.ended[meeting] }?.get()
        return false
    }

    // MARK: The commit record

    /// Returns once all of them have been given away, however long it takes until that is known.
    /// - Parameters:
    ///   - record: the commit record, for all; the last disk that comes writes it.
    ///   - report: told, with whether it is bad, where it is in doubt and how that has ended.
    /// - Throws: why none of them has been; `MigrationError.stopping`, with `isInDoubt`, where the process ends before that
    ///   is known.
    func commit(_ disk: Int, _ record: CommitRecord, report: (Bool, String) -> Void = { _, _ in }) async throws {
        guard try await arrive(disk, at: .commit) else { return }
        var step = look { $0.perform }
        while true {
            // Without the lock: storage that fails may take long, and meanwhile others ask, or give the disks up.
            let (outcome, error) = try await BlockingWork.run { [step] in record.perform(step) }
            let (end, reports) = state.withLockedValue { state in
                let (end, actions) = state.machine.stepEnded(outcome, error)
                return (end, state.perform(actions))
            }
            for (isBad, text) in reports { report(isBad, text) }
            switch end {
            case .committed: return
            case .failed(let error): throw error
            case .pause(let milliseconds): await pause(atMost: .milliseconds(milliseconds))
            }
            guard !Task.isCancelled else {
                let error = MigrationError.stopping
                _ = perform { $0.stopInDoubt(error) }
                throw error
            }
            step = state.withLockedValue { $0.machine.pauseEnded() }
        }
    }

    private func pause(atMost limit: Duration) async {
        await state.wait(until: { !$0.machine.isPauseGoingOn }, atMost: limit)
    }

    /// Whether it is not known whether the disks have been given away: they are not served here, and the destination is not told.
    var isInDoubt: Bool { look { $0.isInDoubt } }

    /// Whether they have been given away.
    var isCommitted: Bool { look { $0.isCommitted } }

    /// nil where it is known whether they have been given away.
    var doubt: Doubt? { look { $0.doubt } }

    /// A disk's record counts without the common one now.
    /// - Returns: whether all of them do.
    func recordStands() -> Bool { state.withLockedValue { $0.machine.recordStands() } }

    // MARK: The next attempt

    /// The disks are not on their way any more. From now on operators' requests are refused here.
    /// - Parameter wasAccepted: the destination had taken the offer of a disk.
    /// - Returns: the group of the next attempt, for which the requests made here count; nil where none follows.
    func next(wasAccepted: Bool) -> SwitchGroup? {
        state.withLockedValue { $0.machine.next(wasAccepted: wasAccepted) }.map { SwitchGroup($0) }
    }

    // MARK: Failure

    /// Why none of them goes; nil where nothing has gone wrong.
    var failure: (any Error)? { look { $0.failure } }

    /// Whether the operator has given it up.
    var isCancelled: Bool { look { $0.isCancelled } }

    /// Notes a disk's connection, which is closed when another one fails.
    /// - Throws: why none of them goes.
    func connect(_ disk: Int, over link: SourceLink) throws {
        try state.withLockedValue { state in
            if let failure = state.machine.connect(disk) { throw failure }
            state.links[disk] = link
        }
    }

    /// A disk's connection has ended.
    func disconnect(_ disk: Int) {
        state.withLockedValue { state in
            state.machine.disconnect(disk)
            state.links[disk] = nil
        }
    }

    /// Lets none of them go. If another attempt is worth it, the destination keeps what was sent for that.
    /// - Returns: false where it is too late for that.
    @discardableResult
    func fail(_ error: any Error) -> Bool { perform { $0.fail(error, .init(of: error)) } }

    /// The operator does not want it any more, and the destination is told.
    /// - Returns: false where it is too late for that. True while the commit record is being written may still come too late;
    ///   then `isCommitted` says so once that is done.
    func cancel() -> Bool { perform { $0.cancel() } }

    /// The node ends, and goes on when it is started again. The destination keeps what it has.
    /// - Returns: as `cancel`.
    func suspend() -> Bool { perform { $0.suspend() } }

    /// Returns once the last message to the destination about a disk has been sent, where there is one to send.
    /// - Returns: whether the destination has answered that it keeps nothing of this attempt.
    func finishFarewell(of disk: Int) async -> Bool {
        await state.withLockedValue { $0.farewells[disk] }?.value ?? false
    }
}

extension SwitchGroupMachine.FailureKind {
    /// Whether it was only the link, or the destination's being away, that ended a migration.
    init(of error: any Error) {
        switch error {
        case PeerError.malformed, PeerError.nbdServer: self = .lasting
        case MigrationError.tooSlow: self = .slow
        // The next attempt reads anew what the server still has.
        case is LostChanges: self = .passing
        default: self = error is PeerError || error is ChannelError || error is IOError ? .passing : .lasting
        }
    }
}
