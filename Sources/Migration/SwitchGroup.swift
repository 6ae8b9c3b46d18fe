import NIOConcurrencyHelpers

/// What the migrations of one guest's disks share: the agreement on the moment of the hand-over, and who waits for it.
final class SwitchGroup: Sendable {
    private struct State {
        var agreement: SwitchAgreement
        var isSwitchRequested = false
        /// Ended when one of the disks is wanted, or none goes.
        var watchers: [UInt64: AsyncStream<Never>.Continuation] = [:]
        var nextWatcher: UInt64 = 0
        var waiting: [SwitchAgreement.Meeting: [CheckedContinuation<Void, any Error>]] = [:]
        var links: [Int: SourceLink] = [:]
        /// The last words to the destination, by disk.
        var farewells: [Int: Task<Bool, Never>] = [:]
        var settled = 0
        /// Why it is not known whether the disks have been given away; nil where it is.
        var doubt: String?
        /// Told to the destination once it is certain that they have not.
        var lateReason: String?

        mutating func endWatching() {
            for watcher in watchers.values { watcher.finish() }
            watchers = [:]
        }
    }

    /// Names it in the records of its disks.
    let id = MigrationID()
    /// How many disks there are.
    let count: Int
    private let state: NIOLockedValueBox<State>

    /// - Parameter count: of disks, at least 1.
    init(count: Int) {
        self.count = count
        state = NIOLockedValueBox(State(agreement: SwitchAgreement(count: count)))
    }

    // MARK: The moment

    /// Whether somebody wants the disks at the destination.
    var isSwitchRequested: Bool { state.withLockedValue { $0.isSwitchRequested } }

    /// Hands all of them over now.
    /// - Returns: false where that has been done, or has failed.
    func requestSwitch() -> Bool {
        state.withLockedValue { state in
            guard state.agreement.failure == nil, !state.agreement.isCommitted else { return false }
            state.isSwitchRequested = true
            state.endWatching()
            return true
        }
    }

    /// Returns once somebody wants the disks at the destination, or the time is over.
    /// - Throws: why none of them goes.
    func waitForSwitch(atMost limit: Duration) async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: Never.self)
        let id = state.withLockedValue { state -> UInt64 in
            state.nextWatcher += 1
            state.watchers[state.nextWatcher] = continuation
            if state.isSwitchRequested || state.agreement.failure != nil { state.endWatching() }
            return state.nextWatcher
        }
        let timer = Task {
            try? await Task.sleep(for: limit)
            continuation.finish()
        }
        for await _ in stream {}
        timer.cancel()
        state.withLockedValue { $0.watchers[id] = nil }
        if let failure { throw failure }
    }

    /// A disk could go now, or could not any more.
    /// - Returns: whether all could at one moment, so that they are to go.
    func note(_ disk: Int, isReady: Bool) -> Bool {
        state.withLockedValue { state in
            state.agreement.note(disk, isReady: isReady)
            return state.agreement.isClosed
        }
    }

    /// Whether every disk could have gone once.
    var isAssembled: Bool { state.withLockedValue { $0.agreement.isAssembled } }

    /// Returns once the destination has taken the offers of all of them, before any data of any of them is sent.
    /// - Throws: why none of them goes.
    func meetBeforeCopying(_ disk: Int) async throws { try await meet(disk, .accepted) }

    /// Returns once all of them are here, before any of them holds its guest back.
    /// - Throws: why none of them goes.
    func meetBeforeFence(_ disk: Int) async throws { try await meet(disk, .fence) }

    /// Returns once all of them have been given away, however long it takes until that is known.
    /// - Parameters:
    ///   - word: the durable word, for all; the last one that comes gives it.
    ///   - report: told, with whether it is bad, where it is in doubt and how that has ended.
    /// - Throws: why none of them has been; `MigrationError.stopping`, with `isInDoubt`, where the process ends before that
    ///   is known.
    func commit(_ disk: Int, _ word: CommitWord, report: (Bool, String) -> Void = { _, _ in }) async throws {
        var attempt = CommitAttempt()
        let first = try state.withLockedValue { state -> (CommitAttempt.Verdict, (any Error)?)? in
            if let failure = state.agreement.failure { throw failure }
            guard state.agreement.arrive(disk, at: .commit) else { return nil }
            return step(&attempt, word, &state)
        }
        guard var (verdict, error) = first else { return try await wait(for: .commit) }
        var cause = error
        let wasInDoubt = attempt.isInDoubt
        while case .unknown(let pause) = verdict {
            if let error, noteDoubt(error) {
                report(true, "whether it has moved is not known, and its clients wait until it is: \(error)")
            }
            await self.pause(.milliseconds(pause))
            guard !Task.isCancelled else { throw resumeInDoubt(MigrationError.stopping) }
            (verdict, error) = state.withLockedValue { step(&attempt, word, &$0) }
            cause = error ?? cause
        }
        if wasInDoubt {
            report(false, verdict == .there ? "it has moved" : "it has not moved, and is served here as before")
        }
        if verdict != .there { try failAfterDoubt(cause ?? MigrationError.cancelled) }
    }

    /// Whether it is not known whether the disks have been given away: they are not served here, and the destination is not told.
    var isInDoubt: Bool { state.withLockedValue { $0.agreement.isInDoubt } }

    /// Why that is not known; nil where it is.
    var doubt: String? { state.withLockedValue { $0.doubt } }

    /// Under the lock: who gives the disks up is heard before the step or after it.
    private func step(
        _ attempt: inout CommitAttempt, _ word: CommitWord, _ state: inout State
    ) -> (CommitAttempt.Verdict, (any Error)?) {
        if state.agreement.failure != nil { attempt.withdraw() }
        let (outcome, error) = word.perform(attempt.next)
        let verdict = attempt.ended(outcome)
        switch verdict {
        case .there:
            state.agreement.commit()
            state.doubt = nil
            // With the same look: who comes to the next meeting meanwhile does not wait for this one.
            for waiting in state.waiting.removeValue(forKey: .commit) ?? [] { waiting.resume() }
        case .gone:
            state.agreement.endDoubt()
            state.doubt = nil
        case .unknown:
            state.agreement.doubt()
        }
        return (verdict, error)
    }

    /// - Returns: whether that is news.
    private func noteDoubt(_ error: any Error) -> Bool {
        state.withLockedValue { state in
            defer { state.doubt = "\(error)" }
            return state.doubt == nil
        }
    }

    /// Until somebody gives the disks up, or the time is over, or the process ends.
    private func pause(_ limit: Duration) async {
        let (stream, continuation) = AsyncStream.makeStream(of: Never.self)
        let id = state.withLockedValue { state -> UInt64 in
            state.nextWatcher += 1
            // It has been heard already.
            if state.agreement.failure == nil { state.watchers[state.nextWatcher] = continuation }
            return state.nextWatcher
        }
        let timer = Task {
            try? await Task.sleep(for: limit)
            continuation.finish()
        }
        for await _ in stream {}
        timer.cancel()
        state.withLockedValue { $0.watchers[id] = nil }
    }

    /// Ends the waiting of all while it is not known whether they have been given away.
    private func resumeInDoubt(_ error: any Error) -> any Error {
        for waiting in state.withLockedValue({ $0.waiting.removeValue(forKey: .commit) ?? [] }) {
            waiting.resume(throwing: error)
        }
        return error
    }

    /// None has been given away. Who gave them up meanwhile is heard now.
    private func failAfterDoubt(_ error: any Error) throws {
        let (waiting, failure) = state.withLockedValue { state in
            guard let failure = state.agreement.failure else {
                return ([CheckedContinuation<Void, any Error>](), error)
            }
            Self.sayFarewell(state.lateReason, &state)
            return (state.waiting.removeValue(forKey: .commit) ?? [], failure)
        }
        for continuation in waiting { continuation.resume(throwing: failure) }
        throw failure
    }

    private func meet(_ disk: Int, _ meeting: SwitchAgreement.Meeting) async throws {
        let waiting = try state.withLockedValue { state -> [CheckedContinuation<Void, any Error>]? in
            if let failure = state.agreement.failure { throw failure }
            guard state.agreement.arrive(disk, at: meeting) else { return nil }
            // With the same look: who comes to the next meeting meanwhile does not wait for this one.
            return state.waiting.removeValue(forKey: meeting) ?? []
        }
        if let waiting { for continuation in waiting { continuation.resume() } } else { try await wait(for: meeting) }
        precondition(state.withLockedValue { $0.agreement.isOver(meeting) }, "nobody leaves before all have come")
    }

    private func wait(for meeting: SwitchAgreement.Meeting) async throws {
        try await withCheckedThrowingContinuation { continuation in
            let outcome = state.withLockedValue { state -> Result<Void, any Error>? in
                // The last one may have come meanwhile.
                if state.agreement.isOver(meeting) { return .success(()) }
                if let failure = state.agreement.failure, !state.agreement.isInDoubt { return .failure(failure) }
                state.waiting[meeting, default: []].append(continuation)
                return nil
            }
            if let outcome { continuation.resume(with: outcome) }
        }
    }

    // MARK: Failure

    /// Why none of them goes; nil where nothing has gone wrong.
    var failure: (any Error)? { state.withLockedValue { $0.agreement.failure } }

    /// Notes a disk's connection, which is closed when another one fails.
    /// - Throws: why none of them goes.
    func connect(_ disk: Int, over link: SourceLink) throws {
        try state.withLockedValue { state in
            if let failure = state.agreement.failure { throw failure }
            state.links[disk] = link
        }
    }

    /// A disk's connection has ended.
    func disconnect(_ disk: Int) { state.withLockedValue { $0.links[disk] = nil } }

    /// Whether the operator has given it up.
    var isCancelled: Bool {
        if case MigrationError.cancelled? = failure { true } else { false }
    }

    /// None of them goes. Where another attempt is worth it, what was sent stays with the destination for that.
    /// - Returns: false where it is too late for that.
    @discardableResult
    func fail(_ error: any Error) -> Bool {
        let isToBeSaid = !GuestMigration.isWorthAnotherAttempt(error)
        return stop(error, saying: isToBeSaid ? "another disk of the same guest can't go" : nil)
    }

    /// The operator does not want it any more, and the destination is told.
    /// - Returns: false where it is too late for that.
    func cancel() -> Bool {
        stop(MigrationError.cancelled, isFinal: true, saying: "cancelled at the source")
    }

    /// Returns once the last word to the destination about a disk has been said, where there is one to say.
    /// - Returns: whether the destination has answered that it keeps nothing of this attempt.
    func finishFarewell(of disk: Int) async -> Bool {
        await state.withLockedValue { $0.farewells[disk] }?.value ?? false
    }

    /// - Parameter reason: told to the destination; nil where the links are just closed.
    private func stop(_ error: any Error, isFinal: Bool = false, saying reason: String?) -> Bool {
        let waiting = state.withLockedValue { state -> [CheckedContinuation<Void, any Error>]? in
            guard state.agreement.fail(error, isFinal: isFinal) else { return nil }
            state.endWatching()
            guard !state.agreement.isInDoubt else {
                // The destination must not drop what may be its own.
                state.lateReason = reason
                return []
            }
            // With the same look: whoever hears of the failure finds its farewell here.
            Self.sayFarewell(reason, &state)
            defer { state.waiting = [:] }
            return state.waiting.values.flatMap { $0 }
        }
        for continuation in waiting ?? [] { continuation.resume(throwing: failure ?? error) }
        return waiting != nil
    }

    private static func sayFarewell(_ reason: String?, _ state: inout State) {
        for (disk, link) in state.links where state.farewells[disk] == nil {
            state.farewells[disk] = Task {
                if let reason { return await link.cancel(reason) }
                link.close()
                return false
            }
        }
    }

    /// A disk's record stands by itself now.
    /// - Returns: whether all of them do.
    func settle() -> Bool {
        state.withLockedValue { state in
            state.settled += 1
            return state.settled == count
        }
    }
}
