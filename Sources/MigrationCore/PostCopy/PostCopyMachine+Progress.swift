import BlockModel
import MigrationProtocol

/// How far the disk is, and who is told.
extension PostCopyMachine {
    /// A reason why the disk does not get on.
    package enum Problem: Equatable, Sendable {
        case cannotStore(error: CInt)
        case sourceCannotRead(error: CInt)
        case cannotSave(reason: String)
        case rootsDiffer(source: DiskRoot, destination: DiskRoot)
    }

    /// How far the disk is.
    package struct Progress: Equatable, Sendable {
        /// Blocks.
        package let missing: UInt64
        /// Until nothing is missing, at the recent rate; nil if nothing has come lately.
        package let secondsLeft: Double?
        /// nil while it gets on.
        package let problem: Problem?
    }

    /// How far the disk is now. The source is told at the same time, where that is due.
    package mutating func progress(at now: ContinuousClock.Instant) -> (progress: Progress, actions: [Action]) {
        let actions = noteProgress(at: now)
        let missing = map.missing
        return (
            Progress(missing: missing, secondsLeft: secondsLeft(missing), problem: difference ?? problem), actions
        )
    }

    mutating func noteProgress(at now: ContinuousClock.Instant) -> [Action] {
        let missing = map.missing
        rate.note(geometry.blockCount - missing, at: now)
        guard let last = lastTold, missing > 0, last.duration(to: now) >= limits.tellingInterval else { return [] }
        lastTold = now
        return tell(missing: missing)
    }

    // MARK: The end of a problem

    // A problem ends with a success, not with the pause: while it lasts, it is reported once, and status keeps it. None ends
    // during the pause, so that the source can't have it reported more often than once a pause.

    /// Blocks have been put into the image.
    mutating func noteStored(_ origin: Origin) {
        // A full disk still takes zeros, and blocks that it holds.
        guard !isPaused, origin == .link || origin == .neighbour, case .cannotStore? = problem else { return }
        problem = nil
    }

    /// Blocks may have come, or been replaced by the guest.
    mutating func noteArrivals() {
        guard !isPaused else { return }
        switch problem {
        case .cannotStore? where map.missing == 0: problem = nil
        case .sourceCannotRead? where unreadableBlock.map(map.isPresent) ?? true: problem = nil
        default: break
        }
    }

    /// Seconds of measuring before the remaining time is told.
    private static var firstEstimate: Double { 1 }

    private func secondsLeft(_ missing: UInt64) -> Double? {
        // The first blocks come while the link and the order of the bulk flow are still being found.
        rate.perSecond > 0 && rate.seconds >= Self.firstEstimate ? Double(missing) / rate.perSecond : nil
    }

    func tell(missing: UInt64) -> [Action] {
        guard lastTold != nil else { return [] }
        let milliseconds = secondsLeft(missing).map { UInt32(min($0 * 1000, Double(Int32.max))) }
        // Over `bulk` it would wait for blocks that were asked for before.
        return [.send(.left(missing: missing, milliseconds: milliseconds), on: .demand)]
    }
}
