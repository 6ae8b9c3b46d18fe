import Block
import BlockModel
import Migration
import NBDServer
import Peer

/// A disk of this node, with the state of its migrations. Any thread may use it.
final class NodeExport: Sendable {
    private struct State {
        var migration: SourceMigration?
        var forward: ForwardLink?
        var supply: PostCopySourceLink?
        var isHeldBack = false
        var hasArrived = false
        var imageProblem: String?
        var putAside: String?
        /// Why the last attempt of the running migration has failed.
        var attemptProblem: String?
        var memory: MemoryRelay?
        /// The last claim; it may have ended.
        var claim: ExportClaim?
        /// The blocks at the end of the last migration from here, while the disk is away.
        var lastBlocks: BlockPicture?
        /// Links of earlier moves; the disk has come back since.
        var pastForwards: [ForwardLink] = []
        var pastSupplies: [PostCopySourceLink] = []
        /// Links end, also those that are still to come: the node ends.
        var stopsForwarding = false
    }

    let export: Export
    /// Configuration of the export; nil for a disk that was moved here.
    let configuration: ExportConfiguration?
    /// Device that holds the bytes; nil for an incoming disk.
    let backing: Backing?
    /// Records of the image's migrations; nil if there is no image.
    let records: SourceRecords?
    /// Dirty bitmap for backups; nil for none.
    let bitmap: ChangeBitmap?
    private let state = WatchedValue(State())

    init(
        export: Export, configuration: ExportConfiguration?, backing: Backing?, records: SourceRecords?,
        bitmap: ChangeBitmap? = nil
    ) {
        self.bitmap = bitmap
        self.export = export
        self.configuration = configuration
        self.backing = backing
        self.records = records
    }

    /// Whether the disk neither moves nor has moved.
    var isHere: Bool { state.withLockedValue { $0.migration == nil && $0.forward == nil } && backing != nil }

    /// Whether the disk neither moves nor has moved, and keeps its opening.
    var isAtRest: Bool { isHere && claimed != .resize }

    var name: String { export.description.name }

    var isReadOnly: Bool { export.description.isReadOnly }

    /// Watches the image for changes; nil if there is no image.
    var watcher: ImageLookout? { export.watcher as? ImageLookout }

    /// Whether requests wait until the disk's missing blocks can be asked for.
    var isHeldBack: Bool { state.withLockedValue { $0.isHeldBack } }

    /// Sets whether the disk is behind a fence because blocks are missing.
    func setHeldBack(_ isHeldBack: Bool) { state.withLockedValue { $0.isHeldBack = isHeldBack } }

    /// Problem with the image, for the operator; nil for none.
    var imageProblem: String? { state.withLockedValue { $0.imageProblem } }

    /// Sets the problem with the image.
    /// - Returns: Whether it differs from the previous one.
    func setImageProblem(_ imageProblem: String?) -> Bool {
        state.withLockedValue { state in
            defer { state.imageProblem = imageProblem }
            return state.imageProblem != imageProblem
        }
    }

    /// Sets the memory that moves with this disk of its guest; nil if none does.
    func setMemory(_ memory: MemoryRelay?) { state.withLockedValue { $0.memory = memory } }

    /// Sets why an interrupted migration is not resumed; nil if none is waiting.
    func setPutAside(_ putAside: String?) { state.withLockedValue { $0.putAside = putAside } }

    /// Why an interrupted migration is not resumed; nil if none is waiting.
    var putAside: String? { state.withLockedValue { $0.putAside } }

    /// Whether the disk arrived, or came back, by migration since the node started.
    var hasArrived: Bool { configuration == nil || isHeldBack || state.withLockedValue { $0.hasArrived } }

    /// Reason why flushes fail; nil if they don't.
    var flushProblem: String? { backing?.file?.flushFailure.map { Self.problem(of: $0) } }

    /// Returns the operator's message about an image that could not be made durable.
    static func problem(of failure: FileError) -> String {
        "\(failure); writes since the last successful flush may be lost, so every flush fails and no migration "
            + "begins: check the storage (it may be full), then restart the node, or take the export out of the "
            + "configuration, reload, put it back and reload"
    }

    /// Returns the facts that decide how to respond to a change of the image.
    func situation(at path: String) -> ImageResponse.Situation {
        ImageResponse.Situation(
            path: path, told: export.description.size, isMoving: migration != nil, hasMoved: hasMoved,
            hasArrived: hasArrived)
    }

    /// Copies the state of the same disk's export under an older description.
    func copyState(from old: NodeExport) {
        let (isHeldBack, hasArrived, putAside, claim) = old.state.withLockedValue {
            ($0.isHeldBack, $0.hasArrived, $0.putAside, $0.claim)
        }
        state.withLockedValue { state in
            state.isHeldBack = isHeldBack
            state.putAside = putAside
            state.hasArrived = hasArrived
            state.claim = claim
        }
    }

    /// Claims the export for a command.
    /// - Throws: `NodeError` if it is not free, or its flushes fail.
    func begin(_ claim: ExportClaim) throws {
        try state.withLockedValue { state in
            try check(state)
            state.claim = claim
        }
    }

    /// Claims the export for a migration.
    /// - Throws: `NodeError` if it is not free, or its flushes fail.
    func begin(_ migration: SourceMigration) throws {
        try state.withLockedValue { state in
            try check(state)
            state.migration = migration
            (state.putAside, state.attemptProblem) = (nil, nil)
        }
    }

    /// Checks that a migration could start now.
    /// - Throws: `NodeError` if it could not.
    func checkIsFree() throws { try state.withLockedValue { try check($0) } }

    private func check(_ state: State) throws {
        if let running = state.migration { throw NodeError.alreadyMigrating(name, to: running.destination) }
        if let forward = state.forward { throw NodeError.hasMoved(name, to: forward.destination) }
        if let flushProblem { throw NodeError.unusable("\(name): \(flushProblem)") }
        if let purpose = Self.claimed(state) { throw purpose.refusal(of: name) }
    }

    /// The purpose for which a command has claimed the export; nil if none has.
    var claimed: ExportClaim.Purpose? { state.withLockedValue { Self.claimed($0) } }

    private static func claimed(_ state: State) -> ExportClaim.Purpose? {
        state.claim.flatMap { $0.isHeld ? $0.purpose : nil }
    }

    /// Runs `body` under the lock that claims need; returns nil if a migration or a command has claimed the export.
    func whileUnclaimed<Result>(_ body: () -> Result) -> Result? {
        state.withLockedValue { $0.migration == nil && Self.claimed($0) == nil ? body() : nil }
    }

    /// Replaces an attempt, whose link was cut, by the next one.
    /// - Parameter problem: Reason of the cut, for the operator.
    func replace(with next: SourceMigration, because problem: String) {
        state.withLockedValue { ($0.migration, $0.attemptProblem) = (next, problem) }
    }

    /// Releases the claim of a migration that has ended.
    func end(_ migration: SourceMigration) {
        let blocks = migration.hasCommitted ? migration.blocks : nil
        state.withLockedValue { state in
            guard state.migration === migration else { return }
            state.migration = nil
            state.lastBlocks = blocks
        }
    }

    /// Rate limit for data sent to another node; nil if none is sent.
    var rate: RateLimit? {
        state.withLockedValue { state in
            state.migration?.rate ?? state.supply.flatMap { $0.isReleased ? nil : $0.rate }
        }
    }

    var migration: SourceMigration? { state.withLockedValue { $0.migration } }

    /// The blocks at the end of the last migration from here; nil if none has ended, or the disk is back.
    var lastBlocks: BlockPicture? { state.withLockedValue { $0.forward == nil ? nil : $0.lastBlocks } }

    /// Waits until a migration of the export has ended or given the disk away, the time is over, or the task is cancelled.
    func waitUntilDecided(_ migration: SourceMigration, atMost limit: Duration) async {
        await state.wait(until: { $0.migration !== migration || $0.forward != nil }, atMost: limit)
    }

    /// Waits until another node has the disk, or the migration with a number has ended.
    /// - Throws: `CancellationError`.
    func waitUntilMoved(orNot runs: MigrationRuns, _ number: UInt64) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [state] in try await state.waitUnlessCancelled { $0.forward != nil } }
            group.addTask { try await runs.waitUntilEnded(number) }
            for try await _ in group { break }
            group.cancelAll()
        }
    }

    /// Sets the link over which the disk's new node gets missing blocks.
    func setSupply(_ supply: PostCopySourceLink) {
        let stops = state.withLockedValue { state in
            state.supply = supply
            return state.stopsForwarding
        }
        if stops { supply.stop() }
    }

    /// Records that the disk has come back.
    /// - Parameter keepsBitmap: Whether the dirty bitmap has the blocks that were written elsewhere.
    func markReturned(keepsBitmap: Bool) {
        let (forward, supply) = state.withLockedValue { state in
            if let forward = state.forward { state.pastForwards.append(forward) }
            if let supply = state.supply { state.pastSupplies.append(supply) }
            defer {
                state.forward = nil
                state.supply = nil
                state.hasArrived = true
            }
            return (state.forward, state.supply)
        }
        // Requests in flight on these links end there; they reach this disk through the other nodes.
        forward?.retire()
        supply?.stop()
        if !keepsBitmap { invalidateBitmap() }
    }

    /// Whether another node has the disk and needs nothing more of this image.
    var isReleased: Bool {
        state.withLockedValue { $0.migration == nil && $0.forward?.isActive == true && $0.supply?.isReleased ?? true }
    }

    /// Records that another node has the disk, and the link that forwards its clients.
    func markMoved(by forward: ForwardLink) {
        let stops = state.withLockedValue { state in
            state.forward = forward
            return state.stopsForwarding
        }
        if stops { forward.stop() }
        invalidateBitmap()
    }

    /// Links to the node that has the disk; nil if this node has it.
    var onward: (forward: ForwardLink, supply: PostCopySourceLink?)? {
        state.withLockedValue { state in state.forward.map { ($0, state.supply) } }
    }

    /// Whether all of the disk is here, and no migration runs.
    var isHereWhole: Bool {
        state.withLockedValue { $0.migration == nil && $0.forward == nil && !$0.isHeldBack } && backing != nil
    }

    /// Whether another node has the disk.
    var hasMoved: Bool { state.withLockedValue { $0.forward != nil } }

    /// Marks all blocks as written, because another node writes or has written to the disk.
    private func invalidateBitmap() {
        if let bitmap { Task { await bitmap.invalidate() } }
    }

    var status: ExportStatus {
        let (migration, forward, supply, putAside, attemptProblem) = state.withLockedValue {
            ($0.migration, $0.forward, $0.supply, $0.putAside, $0.attemptProblem)
        }
        let progress = migration?.progress
        // After a restart there is no migration object that reports the missing blocks.
        let left = migration == nil && supply?.isReleased == false ? supply?.left : nil
        let moved = supply.map { $0.isReleased ? "released" : "moved, and needed by the destination" } ?? "moved"
        let phase = forward.map { $0.isActive ? moved : "moved, waiting for the destination" } ?? progress?.phase
        let cut = progress?.phase == "reconnecting" ? attemptProblem : nil
        let away = forward?.problem ?? supply.flatMap { $0.isReleased ? nil : $0.problem }
        var status = ExportStatus(
            export: name, size: export.description.size, readOnly: export.description.isReadOnly,
            state: phase ?? (backing == nil ? "incoming" : "serving"),
            destination: (forward?.destination ?? migration?.destination)?.description,
            progress: progress, missing: left?.blocks, secondsLeft: left?.seconds,
            problem: migration?.problem ?? cut ?? away ?? (forward == nil ? flushProblem : nil) ?? imageProblem
                ?? putAside,
            failures: failures, memory: state.withLockedValue { $0.memory }?.status,
            trimmed: export.disk.trims.bytes == 0 ? nil : export.disk.trims.bytes)
        status.clients = export.connections.current
        status.missingBytes = left?.bytes
        status.sourceNeeded = forward == nil ? nil : supply.map { !$0.isReleased } ?? false
        return status
    }

    private var failures: [FailedRequests]? {
        let all = export.failures.totals.map {
            FailedRequests(request: $0.key.request, error: $0.key.errorName, count: $0.value)
        }
        return all.isEmpty ? nil : all.sorted { ($0.request, $0.error) < ($1.request, $1.error) }
    }

    /// Stops waiting for the node that has the disk, now and after a later switchover.
    func stopForwarding() {
        state.withLockedValue { $0.stopsForwarding = true }
        let (forwards, supplies) = links
        for forward in forwards { forward.stop() }
        for supply in supplies { supply.stop() }
    }

    /// Waits until all links to nodes that have or had the disk have ended. Call `stopForwarding` first.
    func waitUntilLinksEnded() async {
        let (forwards, supplies) = links
        for forward in forwards { await forward.waitUntilEnded() }
        for supply in supplies { await supply.waitUntilEnded() }
    }

    /// Whether another export of the same image forwards over a link of this one.
    func sharesLink(with other: NodeExport) -> Bool {
        let (forwards, _) = links
        let (others, _) = other.links
        return forwards.contains { forward in others.contains { $0 === forward } }
    }

    private var links: ([ForwardLink], [PostCopySourceLink]) {
        state.withLockedValue { state in
            (
                state.pastForwards + (state.forward.map { [$0] } ?? []),
                state.pastSupplies + (state.supply.map { [$0] } ?? [])
            )
        }
    }
}
