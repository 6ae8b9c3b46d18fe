import MigrationProtocol

/// The source's side of a migration as states and the steps between them; does nothing itself.
///
/// 1. `offered`: the destination has been asked.
/// 2. `copying`: rounds go over; the guest writes. After each, `decide` says what comes next.
/// 3. `fenced`: the guest waits; the last blocks go over, or are named for later, and the roots are compared.
/// 4. `committed`: the durable word is given: from here on the disk is the destination's, whatever happens.
/// 5. `moved`: the destination has said that it serves the disk, and may still ask for blocks.
/// 6. `released`: it has everything; the source's image is not needed any more.
///
/// Up to `fenced` everything can be undone, and `abandon` says how. After `committed` nothing can (invariants 5, 6).
package struct SourceMachine: Equatable {
    package enum State: Equatable {
        case offered
        case copying(round: Int)
        case fenced(round: Int)
        case committed
        case moved
        case released
        case abandoned
    }

    /// What must be undone when a migration is given up.
    package enum Undo: Equatable {
        case nothing
        case stopTracking
        case stopTrackingAndUnfence
    }

    /// What is known at the end of a round; in seconds.
    package struct Situation: Equatable {
        /// How long the guest would wait if what is left were sent behind the fence.
        package var expectedPause: Double
        /// How long it may.
        package var maximumPause: Double
        /// How long it would with nothing left.
        package var leastPause: Double = 0
        /// Bytes that are left.
        package var dirty: UInt64
        /// Bytes of these that are not hot; see `CopyPlan`.
        package var settled: UInt64
        /// So many may be, whatever they take.
        package var threshold: UInt64 = 0

        package init(
            expectedPause: Double, maximumPause: Double, leastPause: Double = 0, dirty: UInt64, settled: UInt64,
            threshold: UInt64 = 0
        ) {
            self.expectedPause = expectedPause
            self.maximumPause = maximumPause
            self.leastPause = leastPause
            self.dirty = dirty
            self.settled = settled
            self.threshold = threshold
        }

        /// Whether what is left could be sent behind the fence.
        package var fits: Bool { dirty <= threshold || expectedPause <= maximumPause }
        /// Whether the guest would hardly notice what is left.
        package var isSmall: Bool { dirty <= threshold || expectedPause <= leastPause + SourceMachine.unnoticed }
    }

    /// What follows a round.
    package enum Decision: Equatable {
        /// Another round over what was written meanwhile.
        case copy(CopyPlan.Scope)
        /// Nothing for a little while, unless somebody asks for the disk; then decide again.
        case wait
        /// Hold the guest back and hand the disk over; the rest is sent before, or left for later.
        case handOver(leavesRest: Bool)
    }

    /// Seconds that are not worth another round.
    private static let unnoticed = 0.01

    package private(set) var state: State
    private let switchover: Switchover
    private let maximumRounds: Int
    private var isSwitchRequested = false
    private var mayLeaveRest = true
    private var plan = CopyPlan()

    /// - Parameter maximumRounds: what is left after so many is left to post-copy, where the disk is handed over by itself.
    package init(switchover: Switchover = .converged, maximumRounds: Int = .max) {
        self.switchover = switchover
        self.maximumRounds = maximumRounds
        state = .offered
    }

    /// A source that starts again with the durable word given in an earlier life.
    package init(committed isNeeded: Bool) {
        switchover = .converged
        maximumRounds = .max
        state = isNeeded ? .committed : .released
    }

    package mutating func accepted() {
        precondition(state == .offered)
        state = .copying(round: 1)
    }

    /// The destination takes the disk over only once all of it is there.
    package mutating func needsWholeDisk() { mayLeaveRest = false }

    /// Whether to hand the disk over now, whatever is left.
    package var skipsCopying: Bool { mayLeaveRest && (switchover == .now || isSwitchRequested) }

    /// Somebody wants the disk at the destination, or the operator says so.
    /// - Returns: false where it is too late for that, or the migration is over.
    package mutating func requestSwitch() -> Bool {
        switch state {
        case .offered, .copying:
            isSwitchRequested = true
            return true
        case .fenced:
            isSwitchRequested = true
            return true
        case .committed, .moved, .released, .abandoned:
            return false
        }
    }

    /// Whether the rounds bring the end nearer, as far as the last has shown.
    package var bringsNearer: Bool { plan.bringsNearer }

    /// A round has been received: what now?
    package mutating func decide(_ situation: Situation) -> Decision {
        guard case .copying(let round) = state else { preconditionFailure("decided after a round") }
        // Whoever waits for the disk gets it at once, and what is left of it afterwards.
        if skipsCopying { return .handOver(leavesRest: true) }
        switch switchover {
        case .firstWrite, .manual:
            return plan.whileNobodyAsks(situation).map { .copy($0) } ?? .wait
        case .converged, .now:
            if situation.isSmall { return .handOver(leavesRest: false) }
        }
        let scope = plan.towardsEnd(situation)
        if round >= maximumRounds { return .handOver(leavesRest: mayLeaveRest && !situation.fits) }
        if situation.fits, !plan.bringsNearer { return .handOver(leavesRest: false) }
        if let scope { return .copy(scope) }
        return mayLeaveRest ? .handOver(leavesRest: true) : .copy(plan.scope(situation))
    }

    /// Whether the disk could still be handed over without leaving anything, after `decide` has said so and others were
    /// waited for.
    package func couldGo(_ situation: Situation) -> Bool {
        guard case .copying(let round) = state else { preconditionFailure("it goes after a round") }
        return situation.isSmall || situation.fits || (!mayLeaveRest && round >= maximumRounds)
    }

    /// A round has been received; begins the next.
    package mutating func nextRound() -> Int {
        guard case .copying(let round) = state else { preconditionFailure("a round follows a round") }
        state = .copying(round: round + 1)
        return round + 1
    }

    /// The guest waits from now on; the round that goes over now is the last.
    package mutating func fence() -> Int {
        guard case .copying(let round) = state else { preconditionFailure("a fence follows a round") }
        state = .fenced(round: round + 1)
        return round + 1
    }

    /// The destination has everything, or all but what both sides say it lacks.
    /// - Throws: `MigrationError.rootsDiffer` where that is not so.
    package mutating func prepared(source: DiskRoot, destination: DiskRoot) throws {
        guard case .fenced = state else { preconditionFailure("roots are compared behind the fence") }
        guard source == destination else {
            throw MigrationError.rootsDiffer(source: source, destination: destination)
        }
    }

    /// The durable record has been written.
    package mutating func committed() {
        guard case .fenced = state else { preconditionFailure("only a fenced disk is given away") }
        state = .committed
    }

    package mutating func moved() {
        precondition(state == .committed)
        state = .moved
    }

    /// The destination has everything, and that is durably noted here.
    package mutating func released() {
        precondition(state == .moved || state == .committed || state == .released)
        state = .released
    }

    /// The migration is given up, for whatever reason.
    /// - Returns: what to undo; nil where it is too late and the destination has the disk.
    package mutating func abandon() -> Undo? {
        switch state {
        case .offered, .abandoned:
            state = .abandoned
            return .nothing
        case .copying:
            state = .abandoned
            return .stopTracking
        case .fenced:
            state = .abandoned
            return .stopTrackingAndUnfence
        case .committed, .moved, .released:
            return nil
        }
    }

    /// Rounds gone over so far, the current one included.
    package var round: Int {
        switch state {
        case .copying(let round), .fenced(let round): round
        case .offered, .committed, .moved, .released, .abandoned: 0
        }
    }
}
