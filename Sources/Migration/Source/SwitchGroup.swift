import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers

/// What the migrations of one guest's disks share: the agreement on the moment of the hand-over, and who waits for it.
final class SwitchGroup: Sendable {
    /// Told whether the disk is the last one.
    private typealias Waiting = CheckedContinuation<Bool, any Error>

    private struct State {
        var agreement: SwitchAgreement
        var isSwitchRequested = false
        /// Ended when one of the disks is wanted, or none goes.
        var watchers: [UInt64: AsyncStream<Never>.Continuation] = [:]
        var nextWatcher: UInt64 = 0
        var waiting: [SwitchAgreement.Meeting: [Waiting]] = [:]
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
        // The last one has begun the first step.
        guard try await arrive(disk, at: .commit) else { return }
        var attempt = CommitAttempt()
        var cause: (any Error)?
        var wasInDoubt = false
        while true {
            let next = attempt.next
            // Without the lock: storage that fails may take long, and meanwhile others ask, or give the disks up.
            let (outcome, error) = try await BlockingWork.run { word.perform(next) }
            cause = error ?? cause
            let (verdict, isNews) = end(&attempt, outcome, error)
            guard case .unknown(let pause) = verdict else {
                if wasInDoubt {
                    report(false, verdict == .there ? "it has moved" : "it has not moved, and is served here as before")
                }
                if verdict != .there { try failAfterDoubt(cause ?? MigrationError.cancelled) }
                return
            }
            wasInDoubt = true
            if let error, isNews {
                report(true, "whether it has moved is not known, and its clients wait until it is: \(error)")
            }
            await self.pause(.milliseconds(pause))
            guard !Task.isCancelled else { throw resumeInDoubt(MigrationError.stopping) }
            beginStep(&attempt)
        }
    }

    /// Whether it is not known whether the disks have been given away: they are not served here, and the destination is not told.
    var isInDoubt: Bool { state.withLockedValue { $0.agreement.isUnsettled } }

    /// Whether they have been given away.
    var isCommitted: Bool { state.withLockedValue { $0.agreement.isCommitted } }

    /// What is known while it is not known whether the disks have been given away.
    struct Doubt: Equatable {
        /// Why it is not; nil while the first step towards it goes on.
        var cause: String?
        /// They are not to go.
        var isGivenUp: Bool
    }

    /// nil where it is known whether they have been given away.
    var doubt: Doubt? {
        state.withLockedValue { state in
            guard state.agreement.isUnsettled else { return nil }
            return Doubt(cause: state.doubt, isGivenUp: state.agreement.failure != nil)
        }
    }

    private func beginStep(_ attempt: inout CommitAttempt) {
        state.withLockedValue { state in
            state.agreement.beginStep()
            if state.agreement.isWithdrawn { attempt.withdraw() }
        }
    }

    /// - Returns: also whether the doubt is news.
    private func end(
        _ attempt: inout CommitAttempt, _ outcome: CommitAttempt.Outcome, _ error: (any Error)?
    ) -> (CommitAttempt.Verdict, isNews: Bool) {
        state.withLockedValue { state in
            let verdict = attempt.ended(outcome)
            let isNews = state.doubt == nil
            switch verdict {
            case .there:
                state.agreement.commit()
                state.doubt = nil
                state.lateReason = nil
                for waiting in state.waiting.removeValue(forKey: .commit) ?? [] { waiting.resume(returning: false) }
            case .gone:
                state.agreement.endDoubt()
                state.doubt = nil
            case .unknown:
                state.agreement.doubt()
                state.doubt = error.map { "\($0)" } ?? state.doubt
            }
            return (verdict, isNews)
        }
    }

    /// Until somebody gives the disks up, or the time is over, or the process ends.
    private func pause(_ limit: Duration) async {
        let (stream, continuation) = AsyncStream.makeStream(of: Never.self)
        let id = state.withLockedValue { state -> UInt64 in
            state.nextWatcher += 1
            if state.agreement.failure == nil {
                state.watchers[state.nextWatcher] = continuation
            } else if !state.agreement.isWithdrawn {
                // They were given up during the last step.
                continuation.finish()
            }
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
                return ([Waiting](), error)
            }
            Self.sayFarewell(state.lateReason, &state)
            return (state.waiting.removeValue(forKey: .commit) ?? [], failure)
        }
        for continuation in waiting { continuation.resume(throwing: failure) }
        throw failure
    }

    private func meet(_ disk: Int, _ meeting: SwitchAgreement.Meeting) async throws {
        _ = try await arrive(disk, at: meeting)
        precondition(state.withLockedValue { $0.agreement.isOver(meeting) }, "nobody leaves before all have come")
    }

    /// Notes that a disk has come to a meeting, and waits for what that is for.
    /// - Returns: true at once for the last disk.
    /// - Throws: why none of them goes.
    private func arrive(_ disk: Int, at meeting: SwitchAgreement.Meeting) async throws -> Bool {
        try await withCheckedThrowingContinuation { continuation in
            // With one look: who has come is found by whoever ends the waiting.
            state.withLockedValue { state in
                if let failure = state.agreement.failure { return continuation.resume(throwing: failure) }
                guard state.agreement.arrive(disk, at: meeting) else {
                    state.waiting[meeting, default: []].append(continuation)
                    return
                }
                if meeting == .commit {
                    state.agreement.beginStep()
                } else {
                    for waiting in state.waiting.removeValue(forKey: meeting) ?? [] { waiting.resume(returning: false) }
                }
                continuation.resume(returning: true)
            }
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
    /// - Returns: false where it is too late for that. True while the word is being given may still come too late; then
    ///   `isCommitted` says so once that is done.
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
        let waiting = state.withLockedValue { state -> [Waiting]? in
            guard state.agreement.fail(error, isFinal: isFinal) else { return nil }
            state.endWatching()
            guard !state.agreement.isUnsettled else {
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
