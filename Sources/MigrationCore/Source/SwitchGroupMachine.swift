import MigrationProtocol

/// Decides for the disks of one guest on their way to one switchover. It decides who waits, who goes on, what the
/// destination is told, and the state of their common commit record.
///
/// A driver performs the actions of an event in their order, before the next event.
package struct SwitchGroupMachine: Sendable {
    package enum Action: Sendable {
        /// Disks that wait at a meeting go on.
        case letGo(SwitchAgreement.Meeting)
        /// Disks that wait at a meeting, or at any, go on with the error.
        case stopWaiting(SwitchAgreement.Meeting?, any Error)
        /// A disk is wanted, or none goes: disks that wait for either look again.
        case wake
        /// A pause of the commit attempt is over.
        case endPause
        /// Tell the destination that a disk will not come, and why; then close the connection.
        case cancel(disk: Int, reason: String)
        /// Close a disk's connection; its destination keeps what it has for another attempt.
        case close(disk: Int)
        /// Tell the operator.
        case report(isBad: Bool, String)
    }

    /// How a disk comes to a meeting.
    package enum Arrival: Sendable {
        /// None of them goes.
        case refused(any Error)
        /// Others are still to come.
        case waits
        /// The disk is the last one. At the meeting for the commit record, `perform` is to be done, and then `stepEnded`.
        case last([Action])
    }

    /// The consequence of a step of the commit attempt.
    package enum StepEnd: Sendable {
        /// The disks are the destination's.
        case committed
        /// They stay here, for certain.
        case failed(any Error)
        /// Neither is certain: so much later `pauseEnded`, unless `endPause` comes first.
        case pause(milliseconds: Int)
    }

    /// Whether another attempt may end otherwise.
    package enum FailureKind: Sendable {
        /// It would not.
        case lasting
        /// It was only the link, or the destination was away.
        case passing
        /// The destination did not answer while the guest waited.
        case slow
    }

    /// The knowledge while it is not known whether the disks have been given away.
    package struct Doubt: Equatable, Sendable {
        /// The error that has led to it; nil while the first step of the attempt goes on.
        package var cause: String?
        /// They are not to go.
        package var isGivenUp: Bool
    }

    /// Disks, at least 1.
    package let count: Int
    private let series: AttemptSeries
    /// It is decided whether another attempt follows.
    private var isOver = false
    private var agreement: SwitchAgreement
    private var attempt = CommitAttempt()
    /// The last error of the commit attempt.
    private var cause: (any Error)?
    private var doubtCause: String?
    private var wasInDoubt = false
    private var isPausing = false
    /// Told to the destination once it is certain that the disks stay here.
    private var lateReason: String?
    private var connected: Set<Int> = []
    private var dismissed: Set<Int> = []
    private var standing = 0
    package private(set) var isSwitchRequested = false
    /// The kind of `failure`; nil if there is none.
    package private(set) var failureKind: FailureKind?

    /// - Parameters:
    ///   - count: of disks, at least 1.
    ///   - series: the attempts of which this is one.
    package init(count: Int, series: AttemptSeries = AttemptSeries()) {
        self.count = count
        self.series = series
        agreement = SwitchAgreement(count: count)
    }

    // MARK: The moment

    /// Why none of them goes; nil where nothing has gone wrong.
    package var failure: (any Error)? { agreement.failure }
    /// Whether they have been given away.
    package var isCommitted: Bool { agreement.isCommitted }
    /// Whether all could go at one moment, so that they go.
    package var isClosed: Bool { agreement.isClosed }
    /// Whether every disk could have gone once.
    package var isAssembled: Bool { agreement.isAssembled }
    /// Whether a disk that waits for the switchover has to look again.
    package var isWaitOver: Bool { isSwitchRequested || failure != nil }
    /// Whether a disk that waits for the others need not wait any longer. A request to switch over does not end that wait:
    /// a disk of which nothing may be left goes with the others all the same.
    package func isWaitForOthersOver(of disk: Int) -> Bool { failure != nil || agreement.concerns(disk) }
    /// Whether the time until the next step of the commit attempt is not over.
    package var isPauseGoingOn: Bool { isPausing }

    /// Somebody wants the disks at the destination. If the attempt has failed and another may follow, the request counts for
    /// that one. If the destination has taken no offer, none follows, and the migration ends as it would have anyway.
    /// - Returns: nil if the disks have been given away, or are not to go.
    package mutating func requestSwitch() -> [Action]? {
        guard !isCommitted, !isOver, failure == nil || mayFollow else { return nil }
        isSwitchRequested = true
        return [.wake]
    }

    /// A disk could go now, or could not any more.
    package mutating func note(_ disk: Int, isReady: Bool) { agreement.note(disk, isReady: isReady) }

    /// A disk has come to a meeting.
    package mutating func arrive(_ disk: Int, at meeting: SwitchAgreement.Meeting) -> Arrival {
        if let failure { return .refused(failure) }
        guard agreement.arrive(disk, at: meeting) else { return .waits }
        guard meeting == .commit else {
            precondition(agreement.isOver(meeting), "nobody leaves before all have come")
            return .last([.letGo(meeting)])
        }
        agreement.beginStep()
        return .last([])
    }

    // MARK: The commit record

    /// The operation to do with the commit record now.
    package var perform: CommitAttempt.Step { attempt.next }

    /// Whether it is not known whether the disks have been given away: they are not served here, and the destination is not
    /// told.
    package var isInDoubt: Bool { agreement.isUnsettled }

    /// nil where it is known whether they have been given away.
    package var doubt: Doubt? {
        isInDoubt ? Doubt(cause: doubtCause, isGivenUp: failure != nil) : nil
    }

    /// A step of the commit attempt has ended.
    /// - Parameter error: of the step; nil where it has succeeded.
    package mutating func stepEnded(
        _ outcome: CommitAttempt.Outcome, _ error: (any Error)?
    ) -> (StepEnd, [Action]) {
        cause = error ?? cause
        switch attempt.ended(outcome) {
        case .there: return (.committed, committed())
        case .gone:
            let actions = gone()
            return (.failed(failure!), actions)
        case .unknown(let pause): return doubted(error, pause)
        }
    }

    /// The time after a step is over.
    /// - Returns: the next one.
    package mutating func pauseEnded() -> CommitAttempt.Step {
        isPausing = false
        agreement.beginStep()
        if agreement.isWithdrawn { attempt.withdraw() }
        return attempt.next
    }

    /// The process ends before the outcome is known.
    package mutating func stopInDoubt(_ error: any Error) -> [Action] {
        isPausing = false
        return [.stopWaiting(.commit, error)]
    }

    private mutating func committed() -> [Action] {
        agreement.commit()
        (doubtCause, lateReason, failureKind) = (nil, nil, nil)
        return outcome("it has moved") + [.letGo(.commit)]
    }

    /// No disk has been given away. An operator who has given them up meanwhile is heard now.
    private mutating func gone() -> [Action] {
        agreement.endDoubt()
        doubtCause = nil
        let actions = outcome("it has not moved, and is served here as before")
        guard let failure else {
            return actions + fail(cause ?? MigrationError.cancelled, .lasting)!
        }
        return actions + dismiss(lateReason) + [.stopWaiting(nil, failure)]
    }

    private mutating func doubted(_ error: (any Error)?, _ pause: Int) -> (StepEnd, [Action]) {
        agreement.doubt()
        let isNews = doubtCause == nil
        doubtCause = error.map { "\($0)" } ?? doubtCause
        (wasInDoubt, isPausing) = (true, true)
        var actions: [Action] = []
        if let error, isNews {
            actions = [
                .report(
                    isBad: true, "whether it has moved is not known, and its clients wait until it is: \(error)")
            ]
        }
        // An operator who has given them up during the step need not wait.
        let isGivenUp = failure != nil && !agreement.isWithdrawn
        return (.pause(milliseconds: isGivenUp ? 0 : pause), actions)
    }

    private func outcome(_ text: String) -> [Action] { wasInDoubt ? [.report(isBad: false, text)] : [] }

    // MARK: The next attempt

    /// No disk of the attempt is on its way any more. From now on operators' requests are those of the next attempt, and
    /// are refused here.
    /// - Parameter wasAccepted: the destination had taken the offer of a disk.
    /// - Returns: the next attempt, for which the requests made here count; nil where none follows.
    package mutating func next(wasAccepted: Bool) -> SwitchGroupMachine? {
        isOver = true
        guard let series = series.next(after: failureKind, isCancelled: isCancelled, wasAccepted: wasAccepted) else {
            return nil
        }
        var next = SwitchGroupMachine(count: count, series: series)
        next.isSwitchRequested = isSwitchRequested
        return next
    }

    /// Whether another attempt follows the failed one, as far as it is known: an offer may still be taken.
    private var mayFollow: Bool {
        series.next(after: failureKind, isCancelled: isCancelled, wasAccepted: true) != nil
    }

    // MARK: Failure

    /// Whether the operator has given them up.
    package var isCancelled: Bool {
        if case MigrationError.cancelled? = failure { true } else { false }
    }

    /// A disk has a connection, which is closed when another disk fails.
    /// - Returns: why none of them goes; nil where they may.
    package mutating func connect(_ disk: Int) -> (any Error)? {
        if let failure { return failure }
        connected.insert(disk)
        return nil
    }

    /// A disk's connection has ended.
    package mutating func disconnect(_ disk: Int) { connected.remove(disk) }

    /// A disk can't go, and so none goes. If another attempt is worth it, the destination keeps what was sent.
    /// - Returns: nil where it is too late for that.
    package mutating func fail(_ error: any Error, _ kind: FailureKind) -> [Action]? {
        stop(error, kind, saying: kind == .lasting ? "another disk of the same guest can't go" : nil)
    }

    /// The operator does not want it any more, and the destination is told.
    /// - Returns: nil where it is too late for that. While the commit record is being written it may still come too late; then
    ///   `isCommitted` says so once that is done.
    package mutating func cancel() -> [Action]? {
        guard !isOver else { return nil }
        return stop(MigrationError.cancelled, .lasting, isFinal: true, saying: "cancelled at the source")
    }

    /// The node ends, and goes on when it is started again: the destination keeps what it has, as after a cut.
    /// - Returns: as `cancel`; nothing to do where they have failed for good already.
    package mutating func suspend() -> [Action]? {
        guard !isOver else { return nil }
        guard failure == nil || failureKind != .lasting else { return [] }
        return stop(MigrationError.suspended, .passing, isFinal: true, saying: nil)
    }

    /// - Parameter reason: told to the destination; nil where the connections are just closed.
    private mutating func stop(
        _ error: any Error, _ kind: FailureKind, isFinal: Bool = false, saying reason: String?
    ) -> [Action]? {
        let isFirst = failure == nil
        guard agreement.fail(error, isFinal: isFinal) else { return nil }
        if isFirst || isFinal { failureKind = kind }
        guard !agreement.isUnsettled else {
            // The destination must not drop what may be its own.
            lateReason = reason
            guard isPausing, !agreement.isWithdrawn else { return [.wake] }
            isPausing = false
            return [.wake, .endPause]
        }
        return [.wake] + dismiss(reason) + [.stopWaiting(nil, failure!)]
    }

    private mutating func dismiss(_ reason: String?) -> [Action] {
        let disks = connected.subtracting(dismissed).sorted()
        dismissed.formUnion(disks)
        return disks.map { disk in reason.map { .cancel(disk: disk, reason: $0) } ?? .close(disk: disk) }
    }

    /// A disk's record counts without the common one now.
    /// - Returns: whether all of them do, so that the common one may go.
    package mutating func recordStands() -> Bool {
        standing += 1
        return standing == count
    }
}
