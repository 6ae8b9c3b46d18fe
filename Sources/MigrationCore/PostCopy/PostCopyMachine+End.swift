import BlockModel
import MigrationProtocol

/// How filled blocks become durable, and how the disk becomes complete.
extension PostCopyMachine {
    // MARK: Durability

    mutating func save(for purpose: SavePurpose) -> [Action] {
        saves.append(purpose)
        return beginSave()
    }

    private mutating func beginSave() -> [Action] {
        guard !saves.isEmpty, !saveSequence.isRunning else { return [] }
        return [.save(saveSequence.begin())]
    }

    /// A step of making durable has ended.
    /// - Parameter failure: why it has failed; nil if it succeeded.
    package mutating func saved(_ failure: WorkFailure?) -> [Action] {
        switch saveSequence.ended(failure) {
        case .step(let step): return [.save(step)]
        case .over(let failure):
            let purpose = saves.removeFirst()
            let next = beginSave()
            return saveEnded(purpose, failure) + next
        }
    }

    private mutating func saveEnded(_ purpose: SavePurpose, _ failure: WorkFailure?) -> [Action] {
        switch purpose {
        case .requests: return translate(scheduler.madeDurable(error: failure?.code ?? 0))
        case .verification:
            if let failure { return giveUpVerification(failure) }
            phase = .hashing
            return [.computeRoot]
        }
    }

    // MARK: Verification

    /// The root is computed, and the manifest durable.
    package mutating func rootComputed(_ root: DiskRoot) -> [Action] {
        precondition(phase == .hashing)
        phase = .verifying(root)
        problem = nil
        return askToVerify()
    }

    /// The root could not be computed, or the manifest not be made durable.
    package mutating func rootFailed(_ failure: WorkFailure) -> [Action] {
        precondition(phase == .hashing)
        return giveUpVerification(failure)
    }

    private mutating func giveUpVerification(_ failure: WorkFailure) -> [Action] {
        phase = .filling
        return pause(.cannotSave(reason: failure.reason))
    }

    func askToVerify() -> [Action] { [.sendReplaced, .send(.verify, on: .bulk)] }

    mutating func verified(_ theirs: DiskRoot) -> [Action] {
        // The answer to a question that was repeated on a new link.
        guard case .verifying(let ours) = phase else { return [] }
        guard ours == theirs else {
            let difference = Problem.rootsDiffer(source: theirs, destination: ours)
            self.difference = difference
            return [.report(difference)]
        }
        var ledger = ledger
        for run in map.notTaken { ledger.present += geometry.byteCount(of: run) }
        phase = .completing(ours, ledger)
        return [.recordCompletion(ledger)]
    }

    /// The completion is durable: only now may the source let go of its image.
    package mutating func completionRecorded() -> [Action] {
        guard case .completing(_, let ledger) = phase else { preconditionFailure("no completion is being recorded") }
        phase = .complete(ledger)
        difference = nil
        return [.send(.complete(ledger), on: .bulk)]
    }

    /// The completion could not be recorded. The channel over which the root came is to end; the next one asks again.
    package mutating func completionFailed() {
        guard case .completing(let root, _) = phase else { preconditionFailure("no completion is being recorded") }
        phase = .verifying(root)
    }
}
