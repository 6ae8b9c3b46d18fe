import MigrationProtocol
import TestSupport
import Testing

@testable import MigrationCore

@Suite("The decisions of a group of disks")
struct SwitchGroupMachineTests {
    private struct Failure: Error {}

    /// Actions in words.
    private func text(_ actions: [SwitchGroupMachine.Action]?) -> [String]? {
        actions?.map { action in
            switch action {
            case .letGo(let meeting): "let go \(meeting)"
            case .stopWaiting(let meeting, _): "stop \(meeting.map { "\($0)" } ?? "all")"
            case .wake: "wake"
            case .endPause: "end pause"
            case .cancel(let disk, _): "cancel \(disk)"
            case .close(let disk): "close \(disk)"
            case .report(let isBad, _): isBad ? "bad" : "good"
            }
        }
    }

    /// A group whose disks have all come to the commit record.
    private func committing(_ count: Int) -> SwitchGroupMachine {
        var machine = SwitchGroupMachine(count: count)
        for disk in 0..<count { holds(machine.connect(disk) == nil) }
        for meeting in [SwitchAgreement.Meeting.accepted, .fence, .commit] {
            for disk in 0..<count {
                switch machine.arrive(disk, at: meeting) {
                case .refused: Issue.record("nothing has failed")
                case .waits: holds(disk < count - 1)
                case .last(let actions):
                    holds(disk == count - 1)
                    holds(text(actions) == (meeting == .commit ? [] : ["let go \(meeting)"]))
                }
            }
        }
        holds(machine.isInDoubt && machine.doubt?.cause == nil && machine.perform == .write)
        return machine
    }

    private func isCommitted(_ end: SwitchGroupMachine.StepEnd) -> Bool {
        if case .committed = end { true } else { false }
    }

    private func isFailed(_ end: SwitchGroupMachine.StepEnd) -> Bool {
        if case .failed = end { true } else { false }
    }

    @Test("The node ends and keeps the migration -> links are closed without a word, and no attempt follows here")
    func suspends() {
        var machine = SwitchGroupMachine(count: 2)
        for disk in 0..<2 { holds(machine.connect(disk) == nil) }
        holds(text(machine.suspend()) == ["wake", "close 0", "close 1", "stop all"])
        guard case MigrationError.suspended? = machine.failure else {
            Issue.record("the failure says why")
            return
        }
        holds(!machine.isCancelled)
    }

    @Test("The node ends after a cancel, after the commit record, or during its step -> the outcome stays as it is")
    func suspendsTooLate() {
        var cancelled = SwitchGroupMachine(count: 1)
        holds(cancelled.connect(0) == nil)
        holds(cancelled.cancel() != nil && text(cancelled.suspend()) == [] && cancelled.isCancelled)
        var committed = committing(1)
        _ = committed.stepEnded(.confirmed, nil)
        holds(committed.suspend() == nil && committed.isCommitted)
        var stepping = committing(1)
        holds(text(stepping.suspend()) == ["wake"], "a destination that may have the disk is not cut off")
        holds(isCommitted(stepping.stepEnded(.confirmed, nil).0))
    }

    @Test("The commit record is there -> all disks go, and nothing that comes later stops them")
    func commits() {
        var machine = committing(3)
        let (end, actions) = machine.stepEnded(.confirmed, nil)
        holds(isCommitted(end) && text(actions) == ["let go commit"])
        holds(machine.isCommitted && !machine.isInDoubt)
        holds(machine.cancel() == nil && machine.fail(Failure(), .lasting) == nil && machine.requestSwitch() == nil)
    }

    @Test("A disk waits for others -> until all are to go, it holds them up, or none goes; whatever is asked for")
    func waitForOthers() {
        var machine = SwitchGroupMachine(count: 2)
        func isOver(_ disk: Int) -> Bool { machine.isWaitForOthersOver(of: disk) }
        machine.note(0, isReady: true)
        machine.note(0, isReady: false)
        _ = machine.requestSwitch()
        holds(!isOver(0) && !isOver(1))
        machine.note(1, isReady: true)
        holds(isOver(0) && !isOver(1), "the other could go, and this one could once")
        machine.note(0, isReady: true)
        holds(machine.isClosed && isOver(0) && isOver(1))
        var failing = SwitchGroupMachine(count: 2)
        _ = failing.fail(Failure(), .passing)
        holds(failing.isWaitForOthersOver(of: 0))
    }

    @Test("The commit record can't be written -> none goes, and the destination is told")
    func refused() {
        var machine = committing(2)
        let (end, actions) = machine.stepEnded(.unchanged, Failure())
        holds(isFailed(end) && machine.failure is Failure && !machine.isInDoubt)
        holds(text(actions) == ["wake", "cancel 0", "cancel 1", "stop all"])
    }

    @Test("A disk fails -> all fail, and destinations keep their parts if another attempt is worth it")
    func fails() {
        for kind in [SwitchGroupMachine.FailureKind.lasting, .passing, .slow] {
            var machine = SwitchGroupMachine(count: 2)
            for disk in 0..<2 { _ = machine.connect(disk) }
            machine.disconnect(1)
            _ = machine.arrive(0, at: .accepted)
            let actions = text(machine.fail(Failure(), kind))
            holds(actions == ["wake", kind == .lasting ? "cancel 0" : "close 0", "stop all"])
            holds(machine.failureKind == kind)
            holds(machine.connect(1) != nil)
            if case .refused = machine.arrive(1, at: .accepted) {} else { Issue.record("it goes on") }
            holds(text(machine.cancel()) == ["wake", "stop all"], "the destination is told once")
            holds(machine.isCancelled && machine.failureKind == .lasting)
        }
    }

    @Test("Given up during a step of the commit attempt -> heard after it, where the record is not there")
    func givenUpInStep() {
        for outcome in [CommitAttempt.Outcome.confirmed, .unchanged, .unknown] {
            var machine = committing(2)
            holds(machine.fail(Failure(), .passing) == nil, "it is nobody's order")
            holds(text(machine.cancel()) == ["wake"])
            holds(machine.doubt?.isGivenUp == true)
            let (end, actions) = machine.stepEnded(outcome, Failure())
            switch outcome {
            case .confirmed: holds(isCommitted(end) && !machine.isCancelled)
            case .unchanged:
                holds(isFailed(end) && text(actions) == ["cancel 0", "cancel 1", "stop all"])
            case .unknown:
                guard case .pause(milliseconds: 0) = end else {
                    Issue.record("it waits although it was given up")
                    return
                }
                holds(machine.pauseEnded() == .erase)
                let (end, actions) = machine.stepEnded(.confirmed, nil)
                holds(isFailed(end) && machine.isCancelled)
                holds(text(actions) == ["good", "cancel 0", "cancel 1", "stop all"])
            }
        }
    }

    @Test("In doubt -> the destination is not told, a cancel ends the pause, and then the record is only removed")
    func doubt() {
        var machine = committing(2)
        let (first, news) = machine.stepEnded(.unknown, Failure())
        guard case .pause = first else {
            Issue.record("it is not in doubt")
            return
        }
        holds(text(news) == ["bad"] && machine.doubt?.cause != nil)
        holds(machine.pauseEnded() == .write)
        let (_, again) = machine.stepEnded(.unknown, Failure())
        holds(text(again) == [], "the doubt is no news")
        holds(machine.isPauseGoingOn && text(machine.cancel()) == ["wake", "end pause"] && !machine.isPauseGoingOn)
        holds(text(machine.cancel()) == ["wake"])
        for _ in 0..<4 {
            holds(machine.pauseEnded() == .erase)
            let (end, _) = machine.stepEnded(.unknown, Failure())
            guard case .pause(let milliseconds) = end else {
                Issue.record("it is certain")
                return
            }
            holds(milliseconds > 0)
        }
        holds(text(machine.stopInDoubt(Failure())) == ["stop commit"] && machine.isInDoubt)
    }

    @Test("The records of all disks stand by themselves -> the common one may go")
    func stands() {
        var machine = SwitchGroupMachine(count: 3)
        holds((0..<3).map { _ in machine.recordStands() } == [false, false, true])
    }

    @Test("An attempt has failed -> another follows where only the link was the reason, slow destinations a few times")
    func attempts() {
        var series = AttemptSeries()
        holds(series.next(after: .passing, isCancelled: false, wasAccepted: false) == nil)
        holds(series.next(after: nil, isCancelled: false, wasAccepted: true) == nil)
        holds(series.next(after: .passing, isCancelled: true, wasAccepted: true) == nil)
        holds(series.next(after: .lasting, isCancelled: false, wasAccepted: true) == nil)
        holds(AttemptSeries(isResumed: true).next(after: .passing, isCancelled: false, wasAccepted: false) != nil)
        for _ in 0..<3 {
            guard let next = series.next(after: .slow, isCancelled: false, wasAccepted: true) else {
                Issue.record("too few attempts")
                return
            }
            series = next
        }
        holds(series.next(after: .slow, isCancelled: false, wasAccepted: true) == nil)
        holds(series.next(after: .passing, isCancelled: false, wasAccepted: false) != nil)
    }

    @Test("Switch after an attempt has failed -> counts for the next one, and is refused where none follows")
    func switchBetweenAttempts() {
        for count in 1...2 {
            for kind in [SwitchGroupMachine.FailureKind.passing, .slow, .lasting] {
                var machine = SwitchGroupMachine(count: count)
                _ = machine.fail(Failure(), kind)
                guard kind != .lasting else {
                    holds(machine.requestSwitch() == nil && machine.next(wasAccepted: true) == nil)
                    continue
                }
                holds(machine.requestSwitch() != nil)
                var next = machine.next(wasAccepted: true)
                holds(next?.isSwitchRequested == true && next?.failure == nil && next?.count == count)
                holds(machine.requestSwitch() == nil && machine.cancel() == nil, "the next attempt is asked now")
                _ = next?.fail(Failure(), .passing)
                holds(next?.next(wasAccepted: false)?.isSwitchRequested == true, "the attempts that follow know of it")
            }
        }
        var unasked = SwitchGroupMachine(count: 1)
        _ = unasked.fail(Failure(), .passing)
        holds(unasked.next(wasAccepted: true)?.isSwitchRequested == false)
    }

    @Test("Switch after the last slow attempt has failed -> is refused")
    func switchAfterLastAttempt() {
        var machine = SwitchGroupMachine(count: 1)
        for _ in 0..<3 {
            _ = machine.fail(Failure(), .slow)
            guard let next = machine.next(wasAccepted: true) else {
                Issue.record("too few attempts")
                return
            }
            machine = next
        }
        _ = machine.fail(Failure(), .slow)
        holds(machine.requestSwitch() == nil && machine.next(wasAccepted: true) == nil)
    }

    @Test("Cancel between two attempts -> no attempt follows, and a switch is refused")
    func cancelBetweenAttempts() {
        var failed = SwitchGroupMachine(count: 2)
        _ = failed.fail(Failure(), .passing)
        var next = failed
        holds(failed.cancel() != nil && failed.requestSwitch() == nil && failed.next(wasAccepted: true) == nil)
        next = next.next(wasAccepted: true)!
        holds(next.cancel() != nil && next.connect(0) != nil && next.requestSwitch() == nil)
        holds(next.next(wasAccepted: true) == nil)
    }

    @Test("Work ahead of the fence -> is repeated while it takes a while, and clearly less each time")
    func repeats() {
        var repeats = AheadRepeats()
        holds(repeats.ended(after: .seconds(1)))
        holds(repeats.ended(after: .milliseconds(700)))
        holds(!repeats.ended(after: .milliseconds(600)), "hardly less")
        var quick = AheadRepeats()
        holds(!quick.ended(after: .milliseconds(9)))
        var many = AheadRepeats()
        let times = (0..<5).map { many.ended(after: .milliseconds(10_000 >> $0)) }
        holds(times == [true, true, true, true, false])
    }
}
