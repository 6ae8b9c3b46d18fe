/// Brings a durable record to where it is there or gone for certain, though operations fail. Does nothing itself.
///
/// 1. The record is known not to be there, and is to be written. A write that fails before it has changed anything leaves it
/// so. 2. After one whose effect is unknown, the record is written again and removed in turn, at a growing pause, until one
/// of both is confirmed: each attempt changes the name anew, since a flush need not cover what an earlier one failed on.
/// 3. Once it is withdrawn it is only removed. Until `verdict` says which it is, nobody may act on either.
package struct CommitAttempt: Equatable, Sendable {
    /// What to do next.
    package enum Step: Equatable, Sendable {
        /// Write the record and make it durable.
        case write
        /// Remove the record and make that durable; where there is none now, write it first.
        case erase
    }

    /// How a step has ended.
    package enum Outcome: Equatable, Sendable {
        /// It is done, and durable.
        case confirmed
        /// Nothing has been changed, for certain.
        case unchanged
        /// Nobody knows what a later life would find.
        case unknown
    }

    /// What is known of the record.
    package enum Verdict: Equatable, Sendable {
        case there
        case gone
        /// Neither is known: `next` is to be done after so many milliseconds.
        case unknown(pauseMilliseconds: Int)
    }

    package static let firstPauseMilliseconds = 50
    package static let longestPauseMilliseconds = 5000

    /// What to do now.
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
