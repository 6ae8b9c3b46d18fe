import BlockModel
import MigrationProtocol

/// The source's side of a migration of one disk: it judges each message of the destination, and names the steps that
/// the driver performs.
///
/// 1. `offered`: the destination has been asked.
/// 2. `copying`: rounds go over; the guest writes. After each, `measured` says what comes next.
/// 3. `fenced`: the guest waits; the last blocks go over, or are named for later, and the roots are compared.
/// 4. `committed`: the commit record is durable: from here on the disk is the destination's, whatever happens.
/// 5. `moved`: the destination has said that it serves the disk, and may still ask for blocks.
/// 6. `released`: it has everything; the source's image is not needed any more.
///
/// Up to `fenced` everything can be undone, and `abandon` says how. After `committed` nothing can (invariants 5, 6).
package struct SourceMachine: Equatable, Sendable {
    package enum State: Equatable, Sendable {
        case offered
        case copying(round: Int)
        case fenced(round: Int)
        case committed
        case moved
        case released
        case abandoned
    }

    /// Work that must be undone when a migration is given up.
    package enum Undo: Equatable, Sendable {
        case nothing
        case stopTracking
        case stopTrackingAndUnfence
        /// The disk may be the destination's: nobody is served from it in this life of the node.
        case stopTrackingAndClose
    }

    /// The decision after a round.
    package enum Decision: Equatable, Sendable {
        /// Another round over what was written meanwhile.
        case copy(CopyPlan.Scope)
        /// Nothing for a little while, unless somebody asks for the disk; then decide again.
        case wait
        /// Hold the guest back and switch over; the rest is sent before, or left for later.
        case switchOver(leavesRest: Bool)
    }

    /// Seconds that are not worth another round.
    static let unnoticed = 0.01

    package private(set) var state = State.offered
    package internal(set) var step = Step.greet
    package private(set) var phase = Phase.connecting
    /// Bytes of the disk.
    let size: UInt64
    /// The places at which a block should begin, such as partitions; bytes, in any order. They are said before the first
    /// message.
    package var places: [UInt64] = []
    let switchover: Switchover
    private let maximumRounds: Int
    private let disks: Int
    private let isEstimate: Bool
    private var isSwitchRequested = false
    private var mayLeaveRest = true
    private var leavesRest = false
    private var plan = CopyPlan()
    var geometry: BlockGeometry?
    /// The destination has said that it has answered all of the manifest.
    var isManifestDone = false
    /// Blocks of the question for a prefix that the destination has not answered; nil for none.
    var questioned: Int?
    /// The destination has confirmed what was named in this step.
    var isNamed = false
    /// Behind the fence, the destination has confirmed the last round.
    var hasLastRoundEnded = false
    /// The block behind the last one that the destination has said to lack.
    var missingEnd: UInt64 = 0

    /// A migration that has not begun; its first step is `greet`.
    /// - Parameters:
    ///   - size: bytes of the disk.
    ///   - maximumRounds: what is left after so many is left to post-copy, where the switchover comes by itself.
    ///   - disks: that are switched over at one moment, at least 1.
    ///   - isEstimate: only what the manifest comes to is asked; nothing moves.
    package init(
        size: UInt64, switchover: Switchover = .converged, maximumRounds: Int = .max, disks: Int = 1,
        isEstimate: Bool = false
    ) {
        precondition(disks >= 1)
        self.size = size
        self.switchover = switchover
        self.maximumRounds = maximumRounds
        self.disks = disks
        self.isEstimate = isEstimate
    }

    /// Rounds gone over so far, the current one included.
    package var round: Int {
        switch state {
        case .copying(let round), .fenced(let round): round
        case .offered, .committed, .moved, .released, .abandoned: 0
        }
    }

    // MARK: Requests

    /// Whether to switch over now, whatever is left.
    package var skipsCopying: Bool { mayLeaveRest && (switchover == .now || isSwitchRequested) }

    /// Somebody wants the disk at the destination, or the operator says so.
    /// - Returns: false where it is too late for that, or the migration is over.
    @discardableResult
    package mutating func requestSwitch() -> Bool {
        switch state {
        case .offered, .copying, .fenced:
            isSwitchRequested = true
            return true
        case .committed, .moved, .released, .abandoned:
            return false
        }
    }

    /// This is another attempt, and has to wait for its turn.
    package mutating func awaitReconnection() {
        precondition(step == .greet)
        phase = .reconnecting
    }

    /// The destination takes the disk over only once all of it is there.
    mutating func needWholeDisk() { mayLeaveRest = false }

    /// A question for a prefix is about to be sent; none is without an answer.
    package mutating func asked(_ question: PrefixQuestion) {
        precondition(questioned == nil)
        questioned = question.prefixes.count
    }

    // MARK: Before the first block

    /// The guest's writes are tracked from now on.
    package mutating func opened() -> Step {
        guard case .open(let opened) = step else { preconditionFailure("opened in \(step)") }
        precondition(state == .offered)
        geometry = opened.geometry
        state = .copying(round: 1)
        return isEstimate ? go(.copyManifest, .copying) : go(.meetBeforeCopying)
    }

    /// All disks of the group have come to the meeting of this step.
    package mutating func met() -> Step {
        switch step {
        case .meetBeforeCopying:
            let expects = switchover.isAnsweredEarly ? switchover : nil
            return go(.start(isReadyAtOnce: switchover != .converged, expects: expects))
        case .meetBeforeFence:
            guard case .copying(let round) = state else { preconditionFailure("a fence follows a round") }
            state = .fenced(round: round + 1)
            return go(.fence, .fenced)
        default:
            preconditionFailure("nobody meets in \(step)")
        }
    }

    /// The preparations of `start` are done.
    package mutating func started() -> Step {
        guard case .start = step else { preconditionFailure("started in \(step)") }
        return skipsCopying ? leaveRest() : go(.copyManifest, .copying)
    }

    // MARK: Rounds

    /// All of the round has been sent, as far as the disk is not wanted at once.
    package mutating func copied() -> Step {
        switch step {
        case .copyManifest, .copy: break
        default: preconditionFailure("copied in \(step)")
        }
        if isEstimate { return go(.finish) }
        return skipsCopying ? leaveRest() : go(.endRound(round))
    }

    /// The forwarding link stands, or has been waited for long enough.
    package mutating func connected() -> Step {
        precondition(step == .connect)
        return go(.measure)
    }

    /// A round has been received, and so much is left.
    package mutating func measured(_ situation: Situation) -> Step {
        precondition(step == .measure)
        switch decide(situation) {
        case .switchOver(let leavesRest):
            self.leavesRest = leavesRest
            return go(.agree(isReady: true))
        case .wait:
            return go(.wait, .waiting)
        case .copy(let scope):
            return go(.copy(round: nextRound(), scope), .copying)
        }
    }

    /// It has been waited a little, or somebody asks for the disk.
    package mutating func waited() -> Step {
        precondition(step == .wait)
        return skipsCopying ? leaveRest() : go(.measure)
    }

    /// The group has heard whether the disk could go. Until each disk could have gone once, nothing is copied: the guest may
    /// write it again before the slowest is there.
    /// - Parameters:
    ///   - isClosed: all could go at one moment, so that they go.
    ///   - isAssembled: each could have gone once.
    package mutating func agreed(isClosed: Bool, isAssembled: Bool) -> Step {
        guard case .agree(let isReady) = step else { preconditionFailure("agreed in \(step)") }
        if skipsCopying { return leaveRest() }
        if isClosed {
            if !leavesRest { return go(.meetBeforeFence) }
            // The disks that go at the same moment copy nothing any more.
            return disks == 1 ? go(.flushCopying(round: round), .copying) : go(.flush)
        }
        return !isReady && isAssembled ? go(.measure) : go(.awaitOthers, .waiting)
    }

    /// So much is left now that other disks have been waited for.
    package mutating func measuredAgain(_ situation: Situation) -> Step {
        precondition(step == .awaitOthers)
        return go(.agree(isReady: leavesRest || couldGo(situation)))
    }

    // MARK: Ahead of the fence

    /// The image is durable, but for what the guest has written last.
    package mutating func flushed() -> Step {
        switch step {
        case .flushCopying(let round): go(skipsCopying ? .flush : .nameAhead(round: round + 1))
        case .flush: go(.meetBeforeFence)
        default: preconditionFailure("flushed in \(step)")
        }
    }

    /// The destination has what was named.
    /// - Parameter repeats: so much has been written meanwhile that it is worth another time.
    package mutating func named(repeats: Bool) -> Step {
        guard case .nameAhead(let round) = step else { preconditionFailure("named in \(step)") }
        precondition(isNamed)
        isNamed = false
        return go(repeats && !skipsCopying ? .nameAhead(round: round + 1) : .flush)
    }

    // MARK: Behind the fence

    /// No request is in flight any more.
    package mutating func fenced() -> Step {
        precondition(step == .fence)
        return go(leavesRest ? .nameRest : .sendRest(round: round))
    }

    /// Both roots are known: of everything, or of all but what both sides say the destination lacks.
    /// - Throws: `MigrationError.rootsDiffer` where they are not the same.
    package mutating func compared(source: DiskRoot, destination: DiskRoot) throws -> Step {
        guard case .compare = step, case .fenced = state else {
            preconditionFailure("roots are compared behind the fence")
        }
        guard source == destination else {
            throw MigrationError.rootsDiffer(source: source, destination: destination)
        }
        return go(.commit)
    }

    /// The commit record is durable.
    package mutating func committed() -> Step {
        guard step == .commit, case .fenced = state else { preconditionFailure("only a fenced disk is given away") }
        state = .committed
        return go(.forward)
    }

    // MARK: Afterwards

    /// The clients' requests go to the destination.
    package mutating func forwarded() -> Step {
        precondition(step == .forward && state == .committed)
        return go(.awaitActive, .moved)
    }

    /// The destination serves the disk.
    /// - Parameter isNeeded: it still lacks blocks.
    package mutating func moved(isNeeded: Bool) -> Step {
        precondition(step == .awaitActive && state == .committed)
        state = .moved
        return isNeeded ? go(.supplyRest, .postCopy) : go(.finish)
    }

    /// The destination has everything, and that is durably noted here.
    package mutating func released() -> Step {
        precondition(step == .supplyRest && state == .moved)
        state = .released
        return go(.finish)
    }

    /// The migration is given up, for whatever reason.
    /// - Parameter isInDoubt: whether there is a commit record is not known, and this life of the node won't know.
    /// - Returns: what to undo; nil where it is too late and the destination has the disk.
    package mutating func abandon(isInDoubt: Bool = false) -> Undo? {
        defer { if state == .abandoned { step = .finish } }
        switch state {
        case .offered, .abandoned:
            state = .abandoned
            return .nothing
        case .copying:
            state = .abandoned
            return .stopTracking
        case .fenced:
            state = .abandoned
            return isInDoubt ? .stopTrackingAndClose : .stopTrackingAndUnfence
        case .committed, .moved, .released:
            return nil
        }
    }

    // MARK: Decisions

    /// Whether the rounds bring the end nearer, as far as the last has shown.
    package var bringsNearer: Bool { plan.bringsNearer }

    mutating func decide(_ situation: Situation) -> Decision {
        guard case .copying(let round) = state else { preconditionFailure("decided after a round") }
        // A client that waits for the disk gets it at once, and the rest of it afterwards.
        if skipsCopying { return .switchOver(leavesRest: true) }
        switch switchover {
        case .firstWrite, .manual:
            return plan.whileNobodyAsks(situation).map { .copy($0) } ?? .wait
        case .converged, .now:
            if situation.isSmall { return .switchOver(leavesRest: false) }
        }
        let scope = plan.towardsEnd(situation)
        if round >= maximumRounds { return .switchOver(leavesRest: mayLeaveRest && !situation.fits) }
        if situation.fits, !plan.bringsNearer { return .switchOver(leavesRest: false) }
        if let scope { return .copy(scope) }
        return mayLeaveRest ? .switchOver(leavesRest: true) : .copy(plan.scope(situation))
    }

    /// Whether the disk could still go without leaving anything, after `decide` has said so and others were waited for.
    private func couldGo(_ situation: Situation) -> Bool {
        situation.isSmall || situation.fits || (!mayLeaveRest && round >= maximumRounds)
    }

    private mutating func nextRound() -> Int {
        guard case .copying(let round) = state else { preconditionFailure("a round follows a round") }
        state = .copying(round: round + 1)
        return round + 1
    }

    /// Goes on to the switchover with what is left for post-copy.
    private mutating func leaveRest() -> Step {
        leavesRest = true
        return go(.flush)
    }

    mutating func go(_ next: Step, _ phase: Phase? = nil) -> Step {
        step = next
        if let phase { self.phase = phase }
        return next
    }
}
