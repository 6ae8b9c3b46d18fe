import Block
import Migration
import NBDServer
import NIOConcurrencyHelpers
import Peer

/// A disk of this node, with what a migration of it needs.
final class NodeExport: Sendable {
    private struct State {
        var migration: SourceMigration?
        var forward: ForwardLink?
        var supply: PostCopySourceLink?
        var isHeldBack = false
        var hasArrived = false
        var imageProblem: String?
        var putAside: String?
        /// Of earlier times when the disk was elsewhere.
        var pastForwards: [ForwardLink] = []
        var pastSupplies: [PostCopySourceLink] = []
    }

    let export: Export
    /// What it is to be as its configuration says; nil for a disk that has been moved here.
    let configuration: ExportConfiguration?
    /// What holds its bytes; nil for a disk that is still to come.
    let backing: Backing?
    /// What is known of migrations of the image; nil where there is no image.
    let records: SourceRecords?
    /// What is noted for backups; nil where nothing is.
    let bitmap: ChangeBitmap?
    private let state = NIOLockedValueBox(State())

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

    /// Whether the disk is just served: it neither moves nor has moved.
    var isAtRest: Bool { state.withLockedValue { $0.migration == nil && $0.forward == nil } && backing != nil }

    var name: String { export.description.name }

    var isReadOnly: Bool { export.description.isReadOnly }

    /// Looks what has become of its image; nil where it has none.
    var watcher: ImageLookout? { export.watcher as? ImageLookout }

    /// Whether requests wait until what is missing of the disk can be asked for.
    var isHeldBack: Bool { state.withLockedValue { $0.isHeldBack } }

    /// Notes whether the disk is behind a fence because it is not whole.
    func setHeldBack(_ isHeldBack: Bool) { state.withLockedValue { $0.isHeldBack = isHeldBack } }

    /// What is wrong with its image; nil where nothing is.
    var imageProblem: String? { state.withLockedValue { $0.imageProblem } }

    /// Notes what is wrong with its image.
    /// - Returns: whether that is news.
    func note(imageProblem: String?) -> Bool {
        state.withLockedValue { state in
            defer { state.imageProblem = imageProblem }
            return state.imageProblem != imageProblem
        }
    }

    /// Notes why a migration of it that an earlier life of the node had begun does not go on; nil where none waits any more.
    func note(putAside: String?) { state.withLockedValue { $0.putAside = putAside } }

    /// Whether a migration has brought the disk, or has brought it back, since the node began.
    var hasArrived: Bool { configuration == nil || isHeldBack || state.withLockedValue { $0.hasArrived } }

    /// Why its clients' flushes fail; nil where they don't.
    var flushProblem: String? { backing?.image?.flushFailure.map { Self.problem(of: $0) } }

    /// The operator's line on an image that could not be made durable.
    static func problem(of failure: FileError) -> String {
        "\(failure); what was written since the last flush that succeeded may be lost, so every flush fails and no migration "
            + "begins: check the storage (it may be full), then restart the node, or take the export out of the "
            + "configuration, reload, put it back and reload"
    }

    /// What becomes of a change of its image depends on.
    func situation(at path: String) -> ImageResponse.Situation {
        ImageResponse.Situation(
            path: path, told: export.description.size, isMoving: migration != nil, hasMoved: hasMoved,
            hasArrived: hasArrived)
    }

    /// Takes over what the same disk was under another description.
    func resume(from old: NodeExport) {
        let (isHeldBack, hasArrived, putAside) = old.state.withLockedValue {
            ($0.isHeldBack, $0.hasArrived, $0.putAside)
        }
        state.withLockedValue { state in
            state.isHeldBack = isHeldBack
            state.putAside = putAside
            state.hasArrived = hasArrived
        }
    }

    /// Claims the export for a migration.
    /// - Throws: `NodeError` where it is taken.
    func begin(_ migration: SourceMigration) throws {
        try state.withLockedValue { state in
            try check(state)
            state.migration = migration
            state.putAside = nil
        }
    }

    /// - Throws: `NodeError` where a migration of it could not begin now.
    func checkIsFree() throws { try state.withLockedValue { try check($0) } }

    private func check(_ state: State) throws {
        if let running = state.migration { throw NodeError.alreadyMigrating(name, to: running.destination) }
        if let forward = state.forward { throw NodeError.hasMoved(name, to: forward.destination) }
        if let flushProblem { throw NodeError.unusable("\(name): \(flushProblem)") }
    }

    /// Does something while no migration can claim the export; nil where one has.
    func whileUnclaimed<Result>(_ body: () -> Result) -> Result? {
        state.withLockedValue { $0.migration == nil ? body() : nil }
    }

    /// Puts the next attempt in the place of one that the link has ended.
    func replace(with next: SourceMigration) {
        state.withLockedValue { $0.migration = next }
    }

    /// A migration has ended, one way or the other.
    func end(_ migration: SourceMigration) {
        state.withLockedValue { state in
            if state.migration === migration { state.migration = nil }
        }
    }

    /// The limit on what is sent for it to another node; nil where nothing is.
    var rate: RateLimit? {
        state.withLockedValue { state in
            state.migration?.rate ?? state.supply.flatMap { $0.isReleased ? nil : $0.rate }
        }
    }

    var migration: SourceMigration? { state.withLockedValue { $0.migration } }

    /// Notes the link over which the node that has the disk gets what it lacks.
    func supply(by supply: PostCopySourceLink) {
        state.withLockedValue { $0.supply = supply }
    }

    /// The disk has come back.
    func returned() {
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
        // What is in flight there ends there: it reaches this disk the long way round.
        forward?.retire()
        supply?.stop()
        invalidateBitmap()
    }

    /// Whether the disk is another node's, which needs nothing of this image any more.
    var isReleased: Bool {
        state.withLockedValue { $0.migration == nil && $0.forward?.isActive == true && $0.supply?.isReleased ?? true }
    }

    /// Notes that the disk is another node's, and the link that forwards its clients there.
    func moved(by forward: ForwardLink) {
        state.withLockedValue { $0.forward = forward }
        invalidateBitmap()
    }

    /// The links to the node that has the disk; nil where this one has it.
    var onward: (forward: ForwardLink, supply: PostCopySourceLink?)? {
        state.withLockedValue { state in state.forward.map { ($0, state.supply) } }
    }

    /// Whether the disk is another node's.
    var hasMoved: Bool { state.withLockedValue { $0.forward != nil } }

    /// Where the disk is another node's, or has been, others write to it.
    private func invalidateBitmap() {
        if let bitmap { Task { await bitmap.invalidate() } }
    }

    var status: ExportStatus {
        let (migration, forward, supply, putAside) = state.withLockedValue {
            ($0.migration, $0.forward, $0.supply, $0.putAside)
        }
        let progress = migration?.progress
        // A migration that this life of the node has begun says it itself.
        let left = migration == nil && supply?.isReleased == false ? supply?.left : nil
        let moved = supply.map { $0.isReleased ? "released" : "moved, and needed by the destination" } ?? "moved"
        let phase = forward.map { $0.isActive ? moved : "moved, waiting for the destination" } ?? progress?.phase
        return ExportStatus(
            export: name, size: export.description.size, readOnly: export.description.isReadOnly,
            state: phase ?? (backing == nil ? "incoming" : "serving"),
            destination: (forward?.destination ?? migration?.destination)?.description,
            progress: progress, missing: left?.blocks, secondsLeft: left?.seconds,
            problem: migration?.problem ?? forward?.problem ?? supply.flatMap { $0.isReleased ? nil : $0.problem }
                ?? (forward == nil ? flushProblem : nil) ?? imageProblem ?? putAside,
            failures: failures)
    }

    private var failures: [FailedRequests]? {
        let all = export.failures.totals.map {
            FailedRequests(request: $0.key.request, error: $0.key.errorName, count: $0.value)
        }
        return all.isEmpty ? nil : all.sorted { ($0.request, $0.error) < ($1.request, $1.error) }
    }

    /// Waits no longer for the node that the disk has moved to.
    func stopForwarding() {
        let (forwards, supplies) = links
        for forward in forwards { forward.stop() }
        for supply in supplies { supply.stop() }
    }

    /// Returns once nothing is done any more for links to nodes that have, or had, the disk; only after `stopForwarding`.
    func waitUntilLinksEnded() async {
        let (forwards, supplies) = links
        for forward in forwards { await forward.waitUntilEnded() }
        for supply in supplies { await supply.waitUntilEnded() }
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
