/// Decides what follows a round of copying, from how the rounds so far went.
///
/// A block that was sent again and is dirty once more is *hot*: the guest keeps rewriting it. Sending it now is
/// probably in vain. Hot blocks are sent late (Akoush et al., Activity Based Sector Synchronisation, MASCOTS 2011).
/// They wait until most dirty blocks are hot, and are sent ever more rarely while nobody asks for the disk.
package struct CopyPlan: Equatable, Sendable {
    /// The dirty blocks that a round goes over.
    package enum Scope: Equatable, Sendable {
        /// The dirty blocks that are not hot.
        case settled
        /// All dirty blocks.
        case all
    }

    /// Rounds in a row that may fail to bring the end nearer before the rest is left to post-copy.
    private static let patience = 1
    /// A round is worthwhile if sending what it leaves takes less than this part of the time before. Otherwise all
    /// further rounds would take more than twice as long as post-copy, which sends each block once.
    package static let worthwhile = 0.5
    /// Waits between two rounds over all blocks while nobody asks for the disk; the number doubles from the first to
    /// the last. A block that the guest writes twice in that time and then leaves alone is sent afterwards.
    private static let waits = 1...256

    private var shortestSending = Double.infinity
    private var idleRounds = 0
    private var hasRested = false
    private var waitsSinceAll = 0
    private var waitsBeforeAll = waits.lowerBound

    package init() {}

    /// Plans a round that has to bring the end nearer.
    /// - Returns: the blocks of the next round; nil if more copying does not help.
    package mutating func towardsEnd(_ situation: SourceMachine.Situation) -> Scope? {
        // A guest that writes as fast as the link carries would go on for ever. The round trips are the same whatever
        // is sent.
        let sending = max(0, situation.expectedPause - situation.leastPause)
        idleRounds = sending < shortestSending * Self.worthwhile ? 0 : idleRounds + 1
        shortestSending = min(shortestSending, sending)
        return idleRounds > Self.patience ? nil : scope(situation)
    }

    /// The blocks that are worth a round.
    package func scope(_ situation: SourceMachine.Situation) -> Scope {
        situation.settled > 0 && situation.settled >= situation.dirty / 2 ? .settled : .all
    }

    /// Whether the last round brought the end nearer.
    package var bringsNearer: Bool { idleRounds == 0 }

    /// Plans a round that keeps up with the guest until somebody asks for the disk.
    /// - Returns: the blocks of the next round; nil if it is better to wait a little.
    package mutating func whileNobodyAsks(_ situation: SourceMachine.Situation) -> Scope? {
        let next = nextWhileNobodyAsks(situation)
        switch next {
        case .all?:
            waitsSinceAll = 0
            waitsBeforeAll = min(waitsBeforeAll * 2, Self.waits.upperBound)
        case nil:
            waitsSinceAll += 1
        case .settled?: break
        }
        hasRested = next == nil
        return next
    }

    private func nextWhileNobodyAsks(_ situation: SourceMachine.Situation) -> Scope? {
        guard situation.dirty > 0, hasRested || !situation.fits else { return nil }
        if scope(situation) == .settled { return .settled }
        if waitsSinceAll >= waitsBeforeAll { return .all }
        return hasRested && situation.settled > 0 ? .settled : nil
    }
}
