import Block
import BlockModel
import Glibc
import Index
import Logging
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Brings the missing blocks of a disk that is served already. It performs the actions of `PostCopyMachine` with the
/// image, the neighbours and the source.
///
/// Any thread may call it. The machine and the waiting requests are behind one lock. The pools' threads use the image,
/// the index and the files of the disk without it.
final class PostCopy: AsyncRequestHandler, Sendable {
    /// The disk's files, its neighbours, and the node's services.
    struct Parts: Sendable {
        let export: String
        let image: any DiskImage
        let store: PresentMapStore
        /// The fingerprints of the blocks that were put into the image, as their bytes were hashed; kept over restarts.
        let manifest: FingerprintFile
        /// The fingerprints that the source has said. They are kept apart from the manifest, so that the roots compare the
        /// image with the source, and not the source with itself.
        let announced: FingerprintFile
        /// nil if there are no neighbours.
        let index: NeighbourIndex?
        let channels: PostCopyChannels
        let pools: WorkPools
        let logger: Logger
        /// Records durably that the disk is complete, and stops using this object.
        let complete: @Sendable (Ledger) async throws -> Void
    }

    private struct State {
        var machine: PostCopyMachine
        var order = ChannelOrder()
        var requests: [UInt64: AsyncRequest] = [:]
        var nextID: UInt64 = 0
    }

    let parts: Parts
    /// Each connection begins a stream of its own.
    let decompressors = NIOLockedValueBox<[PostCopyChannel: StreamDecompressor]>([:])
    private let state: NIOLockedValueBox<State>

    init(parts: Parts) {
        self.parts = parts
        state = NIOLockedValueBox(State(machine: PostCopyMachine(map: parts.store.map)))
    }

    var map: DurablePresentMap { parts.store.map }
    var geometry: BlockGeometry { map.geometry }

    /// How far it is, and how fast it got there lately.
    func progress() -> PostCopyStatus {
        // The source may have to be told at the same time.
        let progress = state.withLockedValue { state in
            let (progress, actions) = state.machine.progress(at: .now)
            let rest = performOrdered(actions, &state, nil)
            precondition(rest.isEmpty, "progress only sends")
            return progress
        }
        return PostCopyStatus(
            missing: progress.missing, secondsLeft: progress.secondsLeft, problem: progress.problem?.text)
    }

    /// Begins to bring what is missing.
    func start() {
        parts.channels.listen(
            PostCopyChannels.Listener(
                event: { [self] in channelChanged($0) }, message: { [self] in try await receive($1, on: $0) }))
        step { $0.start() }
    }

    /// `AsyncRequestHandler`: a request that the map does not answer.
    func handle(_ request: AsyncRequest) {
        let actions = state.withLockedValue { state -> [PostCopyMachine.Action] in
            let id = state.nextID
            state.nextID += 1
            state.requests[id] = request
            let actions = state.machine.begin(
                PostCopyScheduler.Operation(
                    id: id, kind: request.kind, bytes: request.offset..<request.offset + request.length,
                    isForced: request.isForcedUnitAccess))
            return performOrdered(actions, &state, nil)
        }
        perform(actions)
    }

    /// Ends requests that wait for blocks, now and later: the node ends.
    func stop() { step { $0.stop(error: ESHUTDOWN) } }

    func channelChanged(_ event: PostCopyChannels.Event) {
        switch event {
        case .up(let kind, let capabilities, let turn):
            let windowLog = kind == .demand ? ZstdParameters.demandWindowLog : ZstdParameters.windowLog
            let fresh = try? StreamDecompressor(windowLog: windowLog)
            perform(
                state.withLockedValue { state in
                    // The next connection may use its own by now.
                    guard state.order.isUp(turn, of: kind) else { return [] }
                    decompressors.withLockedValue { $0[kind] = fresh }
                    return performOrdered(state.machine.channelUp(kind, capabilities, at: .now), &state, nil)
                })
        case .down(let kind, let turn):
            state.withLockedValue { state in
                state.order.down(turn, of: kind)
                state.machine.channelDown(kind)
            }
        }
    }

    // MARK: The machine

    /// Gives the machine an event, and performs what it orders.
    func step(_ event: (inout PostCopyMachine) -> [PostCopyMachine.Action]) { perform(decide(event)) }

    /// Gives the machine an event.
    /// - Parameter arrived: the blocks of the fill that the event is about.
    /// - Returns: what is left to be performed.
    func decide(
        about arrived: ArrivedBlocks? = nil,
        _ event: (inout PostCopyMachine) throws -> [PostCopyMachine.Action]
    ) rethrows -> [PostCopyMachine.Action] {
        try state.withLockedValue { state in
            let actions = try event(&state.machine)
            return performOrdered(actions, &state, arrived)
        }
    }

    /// Asks the machine, or tells it something that needs no action.
    func ask<Answer>(_ question: (inout PostCopyMachine) -> Answer) -> Answer {
        state.withLockedValue { question(&$0.machine) }
    }

    /// The request of an operation; nil if it has ended.
    func request(_ id: UInt64) -> AsyncRequest? { state.withLockedValue { $0.requests[id] } }

    /// Performs the actions that must precede the next event, with `state` locked. Questions must leave in the order in
    /// which answers are expected. No read may end while bytes are copied into its memory.
    /// - Returns: the other actions.
    private func performOrdered(
        _ actions: [PostCopyMachine.Action], _ state: inout State, _ arrived: ArrivedBlocks?
    ) -> [PostCopyMachine.Action] {
        actions.filter { action in
            switch action {
            case .send(let message, let kind): parts.channels.send(.postcopy(message), on: kind)
            case .sendReplaced: sendReplaced()
            case .deliver(let id, let runs):
                guard let arrived else { preconditionFailure("only what has just come is delivered") }
                state.requests[id].map { arrived.copy(runs, to: $0, geometry) }
            default: return true
            }
            return false
        }
    }

    /// Makes one message after the other, as they are sent: all runs at once may take much memory.
    private func sendReplaced() {
        let chunks = NIOLockedValueBox(RunChunks(map.notTaken))
        parts.channels.send(
            each: { chunks.withLockedValue { $0.next() }.map { .postcopy(.replaced($0)) } }, on: .bulk)
    }

    /// Performs what the machine orders, but for the work of a message.
    func perform(_ actions: [PostCopyMachine.Action]) {
        for action in actions {
            switch action {
            case .perform(let operation): onPool { [self] in perform(operation) }
            case .finish(let id, let error):
                state.withLockedValue { $0.requests.removeValue(forKey: id) }?.finish(error)
            case .search(let search): run(search)
            // The other steps follow it in the same job.
            case .save(.synchronizeImage): onPool { [self] in save(.synchronizeImage) }
            case .save(let step): save(step)
            case .computeRoot: onPool { [self] in computeRoot() }
            case .closeChannels: parts.channels.close()
            case .report(let problem): report(problem)
            case .retry(let delay): retry(after: delay)
            case .send, .sendReplaced, .deliver: preconditionFailure("performed in order")
            case .store, .record, .recordCompletion: preconditionFailure("the work of a message")
            }
        }
    }

    func onPool(_ body: @escaping @Sendable () -> Void) {
        parts.pools.urgent.submit { if case .active = $0 { body() } }
    }

    private func run(_ search: PostCopyMachine.Search) {
        // A demand must not stand in line behind what nobody waits for.
        pool(for: search.channel).submit { [self] in if case .active = $0 { find(search) } }
    }

    /// Threads for the work of a channel.
    func pool(for kind: PostCopyChannel) -> NIOThreadPool {
        kind == .demand ? parts.pools.urgent : parts.pools.background
    }

    private func retry(after delay: Duration) {
        Task { [self] in
            try await Task.sleep(for: delay)
            step { $0.retry() }
        }
    }

    private func report(_ problem: PostCopyMachine.Problem) {
        if case .rootsDiffer = problem { return parts.logger.critical("\(parts.export): \(problem.text)") }
        parts.logger.error("\(parts.export): \(problem.text); trying again")
    }
}

extension PostCopyMachine.Problem {
    /// One line for the operator.
    fileprivate var text: String {
        switch self {
        case .cannotStore(let error): "cannot store what arrives: \(String(cString: strerror(error)))"
        case .sourceCannotRead(let error): "the source can't read blocks: \(String(cString: strerror(error)))"
        case .cannotSave(let reason): reason
        case .rootsDiffer(let source, let destination):
            "the disk that came differs from the source's image (root \(source) there, \(destination) here); "
                + "both are kept, compare them before either is removed"
        }
    }
}
