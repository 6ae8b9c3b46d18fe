import Block
import BlockModel
import Glibc
import Hashing
import Index
import Logging
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Brings what is missing of a disk that is served already: performs what `BlockResolver` and `BackgroundFill` say, with the
/// image, the neighbours and the source.
///
/// 1. It *fills*. 2. When nothing is missing, everything is made durable, and the source is asked to *verify*. 3. The
/// roots are equal: the disk is *complete*, which is durably noted, and the source is told so until it says that it has
/// heard.
final class PostCopy: AsyncRequestHandler, Sendable {
    /// What it works with.
    struct Parts: Sendable {
        let export: String
        let image: RawImage
        let store: PresentMapStore
        /// What has been put into the image, as its bytes were hashed; kept over restarts.
        let manifest: FingerprintFile
        /// What the source says of its blocks. Beside the manifest, so that the roots compare what was said with what is.
        let announced: FingerprintFile
        let index: NeighbourIndex?
        let lanes: Lanes
        let pools: WorkPools
        let logger: Logger
        /// Notes durably that the disk is complete, and stops using this object.
        let complete: @Sendable (Ledger) async throws -> Void
    }

    private enum Phase {
        case filling
        case verifying(DiskRoot?)
        case complete
    }

    private struct State {
        var resolver: BlockResolver
        var fill: BackgroundFill
        var requests: [UInt64: AsyncRequest] = [:]
        var nextID: UInt64 = 0
        var phase = Phase.filling
        /// Blocks that the source still has to send for each segment.
        var awaited: [Range<UInt64>: UInt64] = [:]
        var bulkGeneration = 0
        /// The source has been asked what was read most.
        var isRanking = false
        /// It may be asked about several runs at once.
        var describesRuns = false
        var isPaused = false
        var isStopped = false
        var unsavedBytes: UInt64 = 0
        var ledger = Ledger()
        var problem: String?
        /// Of blocks, wherever they come from.
        var rate = RecentRate()
        /// When the source has been told last what is missing; nil where it can't be told.
        var lastTold: ContinuousClock.Instant?

        /// Until nothing is missing; nil where that can't be told.
        func secondsLeft(_ missing: UInt64) -> Double? { rate.perSecond > 0 ? Double(missing) / rate.perSecond : nil }
    }

    /// What is filled between two checkpoints, and so the most that a crash of the machine makes come again.
    private static let checkpointBytes: UInt64 = 64 << 20
    private static let retryDelay = Duration.seconds(5)
    /// How often the source is told how far it is.
    private static let tellingInterval = Duration.milliseconds(500)

    private let parts: Parts
    private let described: PresentMap
    /// Held while something is made durable. Once that has failed, nothing counts as durable any more until the node starts
    /// again from what was durable before (`FlushGate`).
    private let saving = NIOLock()
    /// One for each connection, made anew with it.
    private let decompressors = NIOLockedValueBox<[LaneKind: StreamDecompressor]>([:])
    private let state: NIOLockedValueBox<State>

    init(parts: Parts) {
        self.parts = parts
        described = PresentMap(geometry: parts.store.map.geometry)
        state = NIOLockedValueBox(
            State(resolver: BlockResolver(map: parts.store.map), fill: BackgroundFill(map: parts.store.map)))
    }

    private var map: DurablePresentMap { parts.store.map }
    private var geometry: BlockGeometry { map.geometry }

    /// How far it is, and how fast it got there lately.
    func progress() -> ArrivingDisk {
        state.withLockedValue { state in
            let missing = noteMissing(&state)
            return ArrivingDisk(missing: missing, secondsLeft: state.secondsLeft(missing), problem: state.problem)
        }
    }

    /// - Returns: blocks that are only at the source.
    @discardableResult
    private func noteMissing(_ state: inout State) -> UInt64 {
        let missing = map.missing
        let now = ContinuousClock.now
        state.rate.note(geometry.blockCount - missing, at: now)
        if let last = state.lastTold, missing > 0, last.duration(to: now) >= Self.tellingInterval {
            state.lastTold = now
            tell(missing, state)
        }
        return missing
    }

    private func tell(_ missing: UInt64, _ state: State) {
        guard state.lastTold != nil else { return }
        let left = state.secondsLeft(missing).map { UInt32(min($0 * 1000, Double(Int32.max))) }
        // Over the other one it would wait for blocks that were asked for before.
        parts.lanes.send(.postcopy(.left(missing: missing, milliseconds: left)), on: .demand)
    }

    /// Begins to bring what is missing.
    func start() {
        parts.lanes.listen(
            Lanes.Listener(
                event: { [self] in laneChanged($0) }, message: { [self] in try await take($1, from: $0) }))
        advance()
    }

    /// `AsyncRequestHandler`: a request that the map does not answer.
    func handle(_ request: AsyncRequest) {
        let actions = state.withLockedValue { state -> [BlockResolver.Action] in
            let id = state.nextID
            state.nextID += 1
            state.requests[id] = request
            let actions = state.resolver.begin(
                BlockResolver.Operation(
                    id: id, kind: request.kind, bytes: request.offset..<request.offset + request.length,
                    isForced: request.isForcedUnitAccess))
            return state.isStopped ? actions + state.resolver.giveUp(error: ESHUTDOWN) : actions
        }
        run(actions)
    }

    /// Ends requests that wait for blocks, now and later: the node ends.
    func stop() {
        let actions = state.withLockedValue { state -> [BlockResolver.Action] in
            state.isStopped = true
            return state.resolver.giveUp(error: ESHUTDOWN)
        }
        run(actions)
    }

    // MARK: What the resolver says

    private func run(_ actions: [BlockResolver.Action]) {
        for action in actions {
            switch action {
            case .perform(let operation): perform(operation)
            case .deliver: preconditionFailure("only what has just come is delivered")
            case .finish(let id, let error):
                state.withLockedValue { $0.requests.removeValue(forKey: id) }?.finish(error)
            case .demand(let runs, let ahead): demand(runs, ahead: ahead)
            case .makeDurable: makeDurable()
            }
        }
    }

    /// What nobody waits for: what somebody waits for must not stand in line behind it.
    private func ahead(_ body: @escaping @Sendable () -> Void) {
        parts.pools.background.submit { if case .active = $0 { body() } }
    }

    private func pool(for kind: LaneKind) -> NIOThreadPool {
        kind == .demand ? parts.pools.urgent : parts.pools.background
    }

    private func onPool(_ body: @escaping @Sendable () -> Void) {
        parts.pools.urgent.submit { if case .active = $0 { body() } }
    }

    private func perform(_ operation: BlockResolver.Operation) {
        onPool { [self] in
            guard let request = state.withLockedValue({ $0.requests[operation.id] }) else { return }
            let error = FileError.outcome { try Self.perform(operation, request, on: parts.image, geometry) }
            run(state.withLockedValue { $0.resolver.performed(operation.id, error: error) })
            advance()
        }
    }

    private static func perform(
        _ operation: BlockResolver.Operation, _ request: AsyncRequest, on image: RawImage,
        _ geometry: BlockGeometry
    ) throws {
        let offset = operation.bytes.lowerBound
        let length = operation.bytes.upperBound - offset
        switch operation.kind {
        case .read: try read(operation, request, from: image, geometry)
        case .write: try image.write(UnsafeRawBufferPointer(request.buffer), at: offset)
        case .trim: try image.punchHole(at: offset, length: length)
        case .writeZeroes where request.mayPunchHole: try image.punchHole(at: offset, length: length)
        case .writeZeroes: try image.writeZeros(at: offset, length: length)
        case .flush, .cache, .status: preconditionFailure("not performed on an image")
        }
    }

    /// Reads what the request has not been given otherwise.
    private static func read(
        _ operation: BlockResolver.Operation, _ request: AsyncRequest, from image: RawImage,
        _ geometry: BlockGeometry
    ) throws {
        var position = operation.bytes.lowerBound
        let given = operation.delivered.map { geometry.bytes(of: $0).clamped(to: operation.bytes) }
        let end = operation.bytes.upperBound..<operation.bytes.upperBound
        for run in given.sorted(by: { $0.lowerBound < $1.lowerBound }) + [end] {
            if position < run.lowerBound {
                let part = Int(position - request.offset)..<Int(run.lowerBound - request.offset)
                try image.read(into: UnsafeMutableRawBufferPointer(rebasing: request.buffer[part]), at: position)
            }
            position = max(position, run.upperBound)
        }
    }

    private func makeDurable() {
        onPool { [self] in
            let error = FileError.outcome { try save() }
            run(state.withLockedValue { $0.resolver.madeDurable(error: error) })
        }
    }

    /// Makes durable what has been put into the image, then what is known of it. One at a time: an older page of the map
    /// must not be written over a newer one.
    private func save() throws {
        try saving.withLock {
            // Only what was marked before the data is made durable may become durable itself (invariant 2).
            let pages = map.takeChanges()
            do {
                do { try parts.image.synchronize() } catch {
                    parts.store.distrustMemory()
                    throw error
                }
                try parts.manifest.synchronize()
                try parts.store.write(pages)
            } catch {
                map.putBack(pages)
                throw error
            }
        }
    }

    /// What is known of blocks decides where they come from: zero, a neighbour, and only then the link.
    /// What nobody waits for yet is asked for in a message of its own, behind the other.
    private func demand(_ runs: [Range<UInt64>], ahead: [Range<UInt64>]) {
        // Whoever reads there is likely to go on there.
        state.withLockedValue { state in for run in runs { state.fill.wish(for: vicinity(run)) } }
        guard (runs + ahead).contains(where: { isDescribed($0) }) else {
            ask(runs, on: .demand)
            return ask(ahead, on: .demand)
        }
        onPool { [self] in
            for part in [runs, ahead] { ask(part.flatMap { isDescribed($0) ? bringFromHere($0) : [$0] }, on: .demand) }
            advance()
        }
    }

    /// Blocks of a part of `ReadCounts`.
    private var part: UInt64 { max(1, ReadCounts.part(of: geometry.size) / UInt64(geometry.blockSize)) }

    private func vicinity(_ blocks: Range<UInt64>) -> Range<UInt64> {
        let part = part
        return blocks.lowerBound / part * part..<min(geometry.blockCount, (blocks.upperBound - 1) / part * part + part)
    }

    private func isDescribed(_ blocks: Range<UInt64>) -> Bool { described.nextMissing(in: blocks) == nil }

    private func ask(_ runs: [Range<UInt64>], on kind: LaneKind) {
        for chunk in PostcopyMessage.chunks(of: runs) { parts.lanes.send(.postcopy(.need(chunk)), on: kind) }
    }

    // MARK: What the background fill says

    /// Does what there is to do next; to be called after every change.
    private func advance() {
        let isOver = state.withLockedValue { state in
            guard case .filling = state.phase else { return false }
            if state.fill.isDone {
                state.phase = .verifying(nil)
                tell(0, state)
                return true
            }
            if !state.isPaused { run(state.fill.next(), state) }
            return false
        }
        if isOver { verify() }
    }

    /// Does what is to be done with `state` locked: questions go out in the order in which the answers are expected.
    private func run(_ actions: [BackgroundFill.Action], _ state: State) {
        for action in actions {
            switch action {
            case .describe(let runs):
                let question = Self.question(about: runs, state).map { BlockRange($0) }
                parts.lanes.send(.postcopy(.describe(question)), on: .bulk)
            case .bring(let segment):
                let generation = state.bulkGeneration
                ahead { [self] in bring(segment, generation) }
            }
        }
    }

    /// What the source is asked to describe where these runs are missing.
    private static func question(about runs: [Range<UInt64>], _ state: State) -> [Range<UInt64>] {
        state.describesRuns ? runs : [runs.first!.lowerBound..<runs.last!.upperBound]
    }

    private func bring(_ segment: Range<UInt64>, _ generation: Int) {
        var rest: [Range<UInt64>] = []
        for run in map.missingRuns(in: segment) { rest += bringFromHere(run) }
        let count = rest.reduce(0 as UInt64) { $0 + UInt64($1.count) }
        state.withLockedValue { state in
            // A lane that was lost meanwhile has forgotten all its segments.
            guard state.bulkGeneration == generation else { return }
            if count == 0 {
                state.fill.brought(segment)
            } else {
                state.awaited[segment] = count
                for chunk in PostcopyMessage.chunks(of: rest) { parts.lanes.send(.postcopy(.need(chunk)), on: .bulk) }
            }
        }
        advance()
    }

    /// Fills described blocks with zeros or from neighbours.
    /// - Returns: those that only the source has.
    private func bringFromHere(_ blocks: Range<UInt64>) -> [Range<UInt64>] {
        guard let fingerprints = try? parts.announced.fingerprints(of: blocks) else { return [blocks] }
        let hasher = BlockHasher()
        func said(of run: Range<UInt64>) -> [Fingerprint] {
            let start = Int(run.lowerBound - blocks.lowerBound)
            return Array(fingerprints[start..<start + run.count])
        }
        var local = LocalBlocks(blocks: blocks, fingerprints: fingerprints, index: parts.index) { [self] in
            parts.image.holds($1, at: $0, geometry, hasher)
        }
        for run in local.present {
            fill(ArrivedBlocks(blocks: run, bytes: .inImage, fingerprints: said(of: run)), as: \.present)
        }
        for run in local.zeros { fill(ArrivedBlocks(blocks: run, bytes: .zeros), as: \.zero) }
        while let (run, buffer) = local.nextFound(geometry) {
            fill(
                ArrivedBlocks(blocks: run, bytes: .inBuffer(buffer, at: 0), fingerprints: said(of: run)),
                as: \.neighbour)
        }
        return local.rest
    }

    // MARK: Fills

    /// Puts blocks that have come into the image, as far as they are still wanted. Where that fails, reads that wait for
    /// them get them all the same.
    private func fill(_ arrived: ArrivedBlocks, as part: WritableKeyPath<Ledger, UInt64>) {
        let fill = state.withLockedValue { $0.resolver.arrived([arrived.blocks]) }
        let error = FileError.outcome {
            for run in fill.accepted { try arrived.put(run, into: parts.image, parts.manifest, geometry) }
        }
        var bytes: UInt64 = 0
        for run in fill.accepted { bytes += geometry.byteCount(of: run) }
        let (actions, needsRetry) = state.withLockedValue { state -> ([BlockResolver.Action], Bool) in
            var actions = state.resolver.filled(fill.id, error: error, isAtHand: arrived.isAtHand)
            guard error == 0 else {
                actions.removeAll { deliver($0, of: arrived, state) }
                return (actions, pause(&state, "cannot store what arrives: \(Self.text(error))"))
            }
            state.ledger[keyPath: part] += bytes
            state.unsavedBytes += bytes
            noteMissing(&state)
            if state.unsavedBytes >= Self.checkpointBytes {
                state.unsavedBytes = 0
                actions += state.resolver.checkpoint()
            }
            return (actions, false)
        }
        run(actions)
        if needsRetry { retryLater() }
    }

    /// Copies what has come into the memory of a read that waits for it, which can't end meanwhile: `state` is locked.
    /// - Returns: false where the action is another one.
    private func deliver(_ action: BlockResolver.Action, of arrived: ArrivedBlocks, _ state: State) -> Bool {
        guard case .deliver(let id, let runs) = action else { return false }
        guard let request = state.requests[id] else { return true }
        for run in runs {
            let wanted = geometry.bytes(of: run).clamped(to: request.offset..<request.offset + request.length)
            arrived.copy(wanted, into: request.buffer, at: request.offset, geometry)
        }
        return true
    }

    /// - Returns: whether nobody has paused it before.
    private func pause(_ state: inout State, _ problem: String) -> Bool {
        if state.problem != problem { parts.logger.error("\(parts.export): \(problem); trying again") }
        state.problem = problem
        defer { state.isPaused = true }
        return !state.isPaused
    }

    private func retryLater() {
        Task { [self] in
            try await Task.sleep(for: Self.retryDelay)
            state.withLockedValue { state in
                state.isPaused = false
                state.problem = nil
            }
            advance()
        }
    }

    // MARK: What the source says

    private func laneChanged(_ event: Lanes.Event) {
        switch event {
        case .up(.demand, let capabilities):
            let fresh = try? StreamDecompressor(windowLog: ZstdParameters.demandWindowLog)
            decompressors.withLockedValue { $0[.demand] = fresh }
            run(
                state.withLockedValue { state in
                    state.lastTold = capabilities.contains(.hearsOfRest) ? .now : nil
                    return state.resolver.linkFound()
                })
        case .down(.demand):
            state.withLockedValue { $0.resolver.linkLost() }
        case .up(.bulk, let capabilities):
            let fresh = try? StreamDecompressor()
            decompressors.withLockedValue { $0[.bulk] = fresh }
            resume(capabilities)
        case .down(.bulk):
            state.withLockedValue { state in
                state.fill.linkLost()
                state.isRanking = false
                state.awaited = [:]
                state.bulkGeneration += 1
            }
        }
    }

    private func resume(_ capabilities: ProtocolSupport.Capabilities) {
        state.withLockedValue { $0.describesRuns = capabilities.contains(.describesRuns) }
        switch state.withLockedValue({ $0.phase }) {
        case .filling where capabilities.contains(.mostRead):
            state.withLockedValue { $0.isRanking = true }
            parts.lanes.send(.postcopy(.rank), on: .bulk)
        case .filling:
            beginFill()
        case .verifying(let root):
            if root != nil { askToVerify() }
        case .complete:
            sayComplete()
        }
    }

    private func beginFill() {
        state.withLockedValue { state in
            guard case .filling = state.phase else { return }
            let span = state.describesRuns ? .max : BackgroundFill.Limits().segment
            run(state.fill.linkFound(span: span), state)
        }
        advance()
    }

    /// The order in which the rest is best brought: it begins with what the source's clients have read most.
    private func note(mostRead ranges: [BlockRange]) throws {
        let ranges = try ranges.map(check)
        let part = part
        guard ranges.count <= PostcopyMessage.maximumRanked, ranges.allSatisfy({ $0.count <= part }) else {
            throw MigrationError.unexpected("more than was read most")
        }
        try state.withLockedValue { state in
            guard state.isRanking else { throw MigrationError.unexpected("an answer that nobody asked for") }
            state.isRanking = false
            state.fill.rank(ranges)
        }
        beginFill()
    }

    private func take(_ message: Message, from kind: LaneKind) async throws {
        switch message {
        case .answer:
            // To a read from before the hand-over, which has been asked of this disk since.
            break
        case .data(let segment):
            try await pool(for: kind).runIfActive { [self] in try store(segment, kind) }
        case .zeros(let range):
            let blocks = try check(range)
            try? await pool(for: kind).runIfActive { [self] in
                fill(ArrivedBlocks(blocks: blocks, bytes: .zeros), as: \.zero)
            }
            count([blocks], kind)
        case .postcopy(.mostRead(let ranges)):
            try note(mostRead: ranges)
        case .postcopy(.description(let description)):
            try await note(description)
        case .postcopy(.unreadable(let range, let code)):
            let blocks = try check(range)
            let error = code > 0 ? code : EIO
            let (actions, needsRetry) = state.withLockedValue { state -> ([BlockResolver.Action], Bool) in
                (
                    state.resolver.unavailable(blocks, error: error),
                    pause(&state, "the source can't read blocks: \(Self.text(error))")
                )
            }
            run(actions)
            count([blocks], kind)
            if needsRetry { retryLater() }
        case .postcopy(.verified(let root)):
            try await verified(root)
        case .postcopy(.released):
            parts.lanes.close()
        default:
            throw MigrationError.unexpected("a message out of turn")
        }
        advance()
    }

    private func check(_ range: BlockRange) throws -> Range<UInt64> {
        guard range.count > 0, let blocks = range.range, blocks.upperBound <= geometry.blockCount else {
            throw MigrationError.unexpected("blocks beyond the end of the disk")
        }
        return blocks
    }

    private func note(_ description: BlockDescription) async throws {
        let asked = state.withLockedValue { state in
            state.fill.oldestQuestion.map { Self.question(about: $0, state) }
        }
        guard let asked, asked.first?.lowerBound == description.first,
            asked.reduce(0, { $0 + $1.count }) == description.fingerprints.count
        else { throw MigrationError.unexpected("fingerprints that nobody asked for") }
        try await parts.pools.background.runIfActive { [self] in
            var rest = description.fingerprints[...]
            for run in asked {
                try parts.announced.set(rest.prefix(run.count), from: run.lowerBound)
                described.mark(run)
                rest = rest.dropFirst(run.count)
            }
        }
        // Not before it is known what the segment holds: others bring what has been described.
        state.withLockedValue { $0.fill.wasDescribed() }
    }

    private func store(_ segment: DataSegment, _ kind: LaneKind) throws {
        let runs = try segment.runs.map(check)
        var count = 0
        for run in runs where count <= DataSegment.maximumBytes {
            count += Int(min(geometry.byteCount(of: run), UInt64(DataSegment.maximumBytes) + 1))
        }
        guard count > 0, count <= DataSegment.maximumBytes,
            let decompressor = decompressors.withLockedValue({ $0[kind] })
        else { throw MigrationError.unexpected("too much data in one message") }
        let buffer = BlockBuffer(byteCount: count + geometry.blockSize)
        try segment.compressed.withUnsafeReadableBytes {
            try decompressor.decompress($0, into: buffer.prefix(count))
        }
        memset(buffer.bytes.baseAddress! + count, 0, geometry.blockSize)
        var offset = 0
        for run in runs {
            let fingerprints = try verify(run, buffer, at: offset)
            fill(
                ArrivedBlocks(blocks: run, bytes: .inBuffer(buffer, at: offset), fingerprints: fingerprints),
                as: \.link)
            offset += Int(geometry.byteCount(of: run))
        }
        self.count(runs, kind)
    }

    /// The fingerprints of blocks that came, which must be those that were announced, if any were.
    private func verify(_ run: Range<UInt64>, _ buffer: BlockBuffer, at offset: Int) throws -> [Fingerprint] {
        let hasher = BlockHasher()
        let found = (0..<run.count).map {
            hasher.fingerprint(
                UnsafeRawBufferPointer(buffer.slice(offset + $0 * geometry.blockSize, geometry.blockSize)))
        }
        let nothing = Fingerprint(high: .max, low: .max)
        if isDescribed(run),
            try zip(parts.announced.fingerprints(of: run), found).contains(where: { $0 != $1 && $0 != nothing })
        {
            throw MigrationError.unexpected("blocks that are not what it said they were")
        }
        return found
    }

    /// Notes that blocks have come over a lane, wanted or not any more.
    private func count(_ runs: [Range<UInt64>], _ kind: LaneKind) {
        guard kind == .bulk else { return }
        state.withLockedValue { state in
            for run in runs {
                guard let segment = state.awaited.keys.first(where: { $0.contains(run.lowerBound) }) else { continue }
                let left = state.awaited[segment]!
                if left > UInt64(run.count) {
                    state.awaited[segment] = left - UInt64(run.count)
                } else {
                    state.awaited[segment] = nil
                    state.fill.brought(segment)
                }
            }
        }
    }

    // MARK: The end

    private func verify() {
        onPool { [self] in
            do {
                try save()
                let root = try parts.manifest.root(without: map.notTaken)
                try parts.manifest.synchronize()
                state.withLockedValue { $0.phase = .verifying(root) }
                askToVerify()
            } catch {
                let needsRetry = state.withLockedValue { state -> Bool in
                    state.phase = .filling
                    return pause(&state, "\(error)")
                }
                if needsRetry { retryLater() }
            }
        }
    }

    private func askToVerify() {
        let chunks = NIOLockedValueBox(RunChunks(map.notTaken))
        parts.lanes.send(
            each: { chunks.withLockedValue { $0.next() }.map { .postcopy(.replaced($0)) } }, on: .bulk)
        parts.lanes.send(.postcopy(.verify), on: .bulk)
    }

    private func verified(_ theirs: DiskRoot) async throws {
        let ours: DiskRoot? = state.withLockedValue { state in
            if case .verifying(let root) = state.phase { return root }
            return nil
        }
        guard let ours else { return }
        guard ours == theirs else {
            let problem =
                "the disk that came differs from the source's image (root \(theirs) there, \(ours) here); "
                + "both are kept, compare them before either is removed"
            state.withLockedValue { $0.problem = problem }
            return parts.logger.critical("\(parts.export): \(problem)")
        }
        let ledger = state.withLockedValue { state -> Ledger in
            var ledger = state.ledger
            for run in map.notTaken { ledger.present += geometry.byteCount(of: run) }
            return ledger
        }
        try await parts.complete(ledger)
        // Not before it is durably noted: the source then lets go of its image.
        state.withLockedValue { state in
            state.ledger = ledger
            state.phase = .complete
        }
        sayComplete()
    }

    private func sayComplete() {
        parts.lanes.send(.postcopy(.complete(state.withLockedValue { $0.ledger })), on: .bulk)
    }

    // MARK: Helpers

    private static func text(_ error: CInt) -> String { String(cString: strerror(error)) }
}
