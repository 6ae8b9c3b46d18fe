import BlockModel
import Hashing
import MigrationProtocol

/// Decides everything about a disk that is served before all of it has come. It decides which request waits for which
/// block, and what the source is asked and told. It also decides when filled blocks become durable, and when the disk
/// is complete.
///
/// 1. *Filling*: missing blocks come from zeros, neighbours or the source. 2. *Saving*: nothing is missing; image, manifest
/// and map become durable. 3. *Hashing*: the root of the image is computed. 4. *Verifying*: the source is asked for its
/// root. 5. *Completing*: the roots are equal, and that is being recorded. 6. *Complete*: the source is told so on every
/// link until it answers. If 2 or 3 fails, the disk is back at 1 and goes on after a pause. If the roots differ, it stays
/// at 4 and asks again on every new link. If the completion can't be recorded, it is back at 4.
///
/// The driver calls one event at a time and performs the actions. It performs `send`, `sendReplaced` and `deliver`
/// before the next event. Questions must leave in the order in which answers are expected. No read may end while bytes
/// are copied into its memory. It passes on the messages of one channel one after the other, each once the work of the
/// one before has been reported.
package struct PostCopyMachine: Sendable {
    /// The tuned numbers of one disk.
    package struct Limits: Sendable {
        /// The windows of the background fill.
        package var fill = BackgroundFill.Limits()
        /// Bytes filled between two checkpoints, and so the most that come again after a crash of the machine.
        package var checkpointBytes: UInt64 = 64 << 20
        /// The pause after a failure.
        package var retryDelay = Duration.seconds(5)
        /// The least time between two reports of progress to the source.
        package var tellingInterval = Duration.milliseconds(500)
        /// Blocks of one part of `ReadCounts`; what surrounds a demand is brought ahead of the rest in such parts.
        package var partBlocks: UInt64

        package init(_ geometry: BlockGeometry) {
            partBlocks = max(1, ReadCounts.part(of: geometry.size) / UInt64(geometry.blockSize))
        }
    }

    enum Phase: Equatable {
        case filling
        case saving
        case hashing
        case verifying(DiskRoot)
        case completing(DiskRoot, Ledger)
        case complete(Ledger)
    }

    enum SavePurpose {
        case requests
        case verification
    }

    let map: DurablePresentMap
    let limits: Limits
    var scheduler: PostCopyScheduler
    var fill: BackgroundFill
    var phase = Phase.filling
    /// Blocks whose fingerprints the source has said.
    let describedBlocks: PresentMap
    /// Blocks that the source still has to send for each segment.
    var awaited: [Range<UInt64>: UInt64] = [:]
    /// Counts the bulk channels: work that began on an earlier one changes nothing.
    var bulkGeneration = 0
    /// The source has been asked what was read most.
    var isRanking = false
    /// The source may be asked about several runs at once.
    var describesRuns = false
    var isPaused = false
    var stopError: CInt?
    /// The first is under way.
    var saves: [SavePurpose] = []
    var saveSequence: SaveSequence
    var unsavedBytes: UInt64 = 0
    var ledger = Ledger()
    /// Kept over the pause, until what had failed has succeeded.
    var problem: Problem?
    /// The last block that the source could not read.
    var unreadableBlock: UInt64?
    /// Kept apart from `problem`: no success of this side ends it.
    var difference: Problem?
    /// Blocks that come, from anywhere.
    var rate = RecentRate()
    /// When the source was last told what is missing; nil if it can't be told.
    var lastTold: ContinuousClock.Instant?

    /// A disk of which `map` says what has come.
    package init(map: DurablePresentMap, limits: Limits? = nil) {
        let limits = limits ?? Limits(map.geometry)
        self.map = map
        self.limits = limits
        scheduler = PostCopyScheduler(map: map)
        fill = BackgroundFill(map: map, limits: limits.fill)
        describedBlocks = PresentMap(geometry: map.geometry)
        saveSequence = SaveSequence(map: map)
    }

    var geometry: BlockGeometry { map.geometry }

    /// Blocks that were demanded and have not come (invariant 10).
    package var demandedCount: Int { scheduler.demandedCount }

    /// Segments of the background fill that are under way (invariant 10).
    package var openSegmentCount: Int { fill.openCount }

    /// Whether the source has said the fingerprints of all these blocks, so that bytes must match them.
    package func isDescribed(_ blocks: Range<UInt64>) -> Bool { describedBlocks.nextMissing(in: blocks) == nil }

    /// The runs of these blocks whose fingerprints the source has said.
    package func describedRuns(in blocks: Range<UInt64>) -> [Range<UInt64>] {
        Array(describedBlocks.presentRuns(in: blocks))
    }

    /// Compares blocks that came with what the source has said of them.
    /// - Parameter announced: one fingerprint for each of the blocks; `unknown` where it said nothing.
    /// - Throws: `MigrationError.unexpected` if a block is another one.
    package static func check(_ found: some Sequence<Fingerprint>, against announced: [Fingerprint]) throws {
        guard zip(announced, found).allSatisfy({ $0 == $1 || $0 == .unknown }) else {
            throw MigrationError.unexpected("blocks that are not what it said they were")
        }
    }

    /// The disk is served. If nothing is missing, verification begins without a link.
    package mutating func start() -> [Action] { advance() }

    // MARK: Clients

    /// A request that needs missing blocks, or durability.
    package mutating func begin(_ operation: PostCopyScheduler.Operation) -> [Action] {
        let actions = scheduler.begin(operation)
        guard let stopError else { return translate(actions) }
        return translate(actions + scheduler.giveUp(error: stopError))
    }

    /// A request has been performed on the image.
    /// - Parameter error: an `errno`; 0 for success.
    package mutating func performed(_ id: UInt64, error: CInt) -> [Action] {
        let actions = scheduler.performed(id, error: error)
        return translate(actions) + advance()
    }

    /// The node ends: requests that wait for blocks end with `error`, now and from now on.
    package mutating func stop(error: CInt) -> [Action] {
        stopError = error
        return translate(scheduler.giveUp(error: error))
    }

    // MARK: Fills

    /// The bytes of blocks are at hand.
    /// - Returns: what of them to write; reported with `filled`.
    package mutating func arrived(_ blocks: Range<UInt64>, from origin: Origin) -> Fill {
        let fill = scheduler.arrived([blocks])
        return Fill(id: fill.id, origin: origin, accepted: fill.accepted)
    }

    /// The accepted blocks are in the image and the manifest, or could not be put there.
    /// - Parameters:
    ///   - error: an `errno`; 0 for success.
    ///   - isAtHand: the bytes are in memory, so that waiting reads can have them although they could not be stored.
    package mutating func filled(
        _ fill: Fill, error: CInt, isAtHand: Bool, at now: ContinuousClock.Instant
    ) -> [Action] {
        var actions = translate(scheduler.filled(fill.id, error: error, isAtHand: isAtHand))
        guard error == 0 else { return actions + pause(.cannotStore(error: error)) }
        let bytes = fill.accepted.reduce(0) { $0 + geometry.byteCount(of: $1) }
        count(bytes, from: fill.origin)
        if bytes > 0 { noteStored(fill.origin) }
        unsavedBytes += bytes
        actions += noteProgress(at: now)
        if unsavedBytes >= limits.checkpointBytes {
            unsavedBytes = 0
            actions += translate(scheduler.checkpoint())
        }
        return actions
    }

    private mutating func count(_ bytes: UInt64, from origin: Origin) {
        switch origin {
        case .present: ledger.present += bytes
        case .zero: ledger.zero += bytes
        case .neighbour: ledger.neighbour += bytes
        case .link: ledger.link += bytes
        }
    }

    /// A part of a search has been gone over, and what was found is filled.
    /// - Parameter rest: what only the source has.
    package mutating func searched(_ search: Search, rest: [Range<UInt64>]) -> [Action] {
        guard search.channel == .bulk else { return ask(rest, on: .demand) + advance() }
        // A channel that was lost meanwhile has forgotten all its segments.
        guard search.generation == bulkGeneration else { return advance() }
        let segment = search.parts[0][0]
        guard !rest.isEmpty else {
            fill.brought(segment)
            return advance()
        }
        awaited[segment] = rest.reduce(0) { $0 + UInt64($1.count) }
        return ask(rest, on: .bulk) + advance()
    }

    // MARK: Time

    /// The pause is over.
    package mutating func retry() -> [Action] {
        isPaused = false
        return translate(scheduler.retry()) + advance()
    }

    // MARK: Steps

    /// Does what there is to do next; called at the end of every event that may allow it.
    mutating func advance() -> [Action] {
        guard case .filling = phase, !isPaused else { return [] }
        noteArrivals()
        guard !fill.isDone else {
            phase = .saving
            return tell(missing: 0) + save(for: .verification)
        }
        return translate(fill.next())
    }

    /// - Returns: a retry only if none is pending.
    mutating func pause(_ problem: Problem) -> [Action] {
        let report = self.problem == problem ? [] : [Action.report(problem)]
        self.problem = problem
        guard !isPaused else { return report }
        isPaused = true
        return report + [.retry(after: limits.retryDelay)]
    }

    mutating func translate(_ actions: [PostCopyScheduler.Action]) -> [Action] {
        actions.flatMap { action -> [Action] in
            switch action {
            case .perform(let operation): [.perform(operation)]
            case .deliver(let id, let runs): [.deliver(id: id, runs)]
            case .finish(let id, let error): [.finish(id: id, error: error)]
            case .demand(let runs, let ahead): demand(runs, ahead: ahead)
            case .makeDurable: save(for: .requests)
            }
        }
    }

    mutating func translate(_ actions: [BackgroundFill.Action]) -> [Action] {
        actions.map { action in
            switch action {
            case .describe(let runs): .send(.describe(question(about: runs).map { BlockRange($0) }), on: .bulk)
            case .bring(let segment): .search(Search(parts: [[segment]], channel: .bulk, generation: bulkGeneration))
            }
        }
    }

    /// Zeros and neighbours come before the link. Blocks for which nobody waits yet are asked for in a message of their own,
    /// behind the others.
    private mutating func demand(_ runs: [Range<UInt64>], ahead: [Range<UInt64>]) -> [Action] {
        // The next reads are likely to be near.
        for run in runs { fill.wish(for: surroundings(of: run)) }
        guard (runs + ahead).contains(where: isDescribed) else {
            return ask(runs, on: .demand) + ask(ahead, on: .demand)
        }
        return [.search(Search(parts: [runs, ahead], channel: .demand, generation: bulkGeneration))]
    }

    private func surroundings(of blocks: Range<UInt64>) -> Range<UInt64> {
        let part = limits.partBlocks
        return blocks.lowerBound / part * part..<min(geometry.blockCount, (blocks.upperBound - 1) / part * part + part)
    }

    private func ask(_ runs: [Range<UInt64>], on channel: PostCopyChannel) -> [Action] {
        PostcopyMessage.chunks(of: runs).map { .send(.need($0), on: channel) }
    }

    /// The runs of the question about these missing runs.
    func question(about runs: [Range<UInt64>]) -> [Range<UInt64>] {
        describesRuns ? runs : [runs.first!.lowerBound..<runs.last!.upperBound]
    }
}
