/// Brings a durable record to a certain state, there or gone, although operations fail.
///
/// 1. The record is known not to be there, and is to be written. A write that fails before it has changed anything
/// leaves it so.
/// 2. If the effect of a write is unknown, the record is written again and removed in turn, until one of the two is
/// confirmed. The pauses between these operations grow. Each operation changes the name anew, because a flush need not cover what an earlier
/// one failed on.
/// 3. A withdrawn record is only removed.
///
/// Until the verdict says which it is, nobody may act on either.
package struct CommitAttempt: Equatable, Sendable {
    /// An operation on the record.
    package enum Step: Equatable, Sendable {
        /// Write the record and make it durable.
        case write
        /// Remove the record and make that durable; where there is none now, write it first.
        case erase
    }

    /// The outcome of a step.
    package enum Outcome: Equatable, Sendable {
        /// The step is done, and durable.
        case confirmed
        /// Nothing has been changed, for certain.
        case unchanged
        /// A later life may find the record or may not.
        case unknown
    }

    /// The knowledge about the record after a step.
    package enum Verdict: Equatable, Sendable {
        case there
        case gone
        /// Neither is known: `next` is to be done after this pause.
        case unknown(pauseMilliseconds: Int)
    }

    package static let firstPauseMilliseconds = 50
    package static let longestPauseMilliseconds = 5000

    /// The step to do now.
    package private(set) var next = Step.write
    /// Whether a later life may find the record or may not.
    package private(set) var isInDoubt = false
    private var isWithdrawn = false
    private var pause = 0

    package init(next: Step = Step.write, isInDoubt: Bool = false) {
        self.next = next
        self.isInDoubt = isInDoubt
    }

    /// The record is not wanted any more: it is only removed from now on.
    package mutating func withdraw() {
        isWithdrawn = true
        next = .erase
    }

    /// The step that `next` named has ended.
    package mutating func ended(_ outcome: Outcome) -> Verdict {
        let step = next
        switch (step, outcome) {
        case (.write, .confirmed):
            isInDoubt = false
            return .there
        case (.erase, .confirmed):
            isInDoubt = false
            return .gone
        case (_, .unchanged) where !isInDoubt:
            return .gone
        case (_, .unchanged), (_, .unknown):
            isInDoubt = true
            next = isWithdrawn || step == .write && pause > 0 ? .erase : .write
            defer { pause = min(max(Self.firstPauseMilliseconds, pause * 2), Self.longestPauseMilliseconds) }
            return .unknown(pauseMilliseconds: pause)
        }
    }
}
