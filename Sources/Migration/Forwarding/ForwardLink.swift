import Block
import Glibc
import Logging
import MigrationCore
import MigrationProtocol
import Peer
import PeerModel

/// Carries the requests of the source's clients to the destination, for as long as this node lives.
///
/// 1. `start` connects before the switchover, so that the guest need not wait for that.
/// 2. `commit` follows once the disk is the destination's for good. Every new connection then says so first, which makes a
/// destination that crashed in between take over (invariant 5).
/// 3. A request waits until it is answered; if the link is cut, it is sent again on the next connection. If the destination's
/// machine has gone down meanwhile, the changes come first that it had answered and may have lost.
/// 4. If the destination has moved the disk on, the link goes to its successor (`ForwardLink+Successor`).
/// 5. `stop` is for a migration that came to nothing.
public final class ForwardLink: AsyncRequestHandler, Sendable {
    struct State {
        /// The node that has the disk.
        var destination: PeerAddress
        var requests: ForwardQueue
        var isStopped = false
        var isRetired = false
        var roundTrip: Duration?
        var problem: String?
        var pending: [UInt64: AsyncRequest] = [:]
        /// The requests to send on the current connection; nil until it takes them, and from its end on.
        var queue: AsyncStream<UInt64>.Continuation?
        var isCommitted = false
        var isActive = false
        var task: Task<Void, Never>?
        var connection: PeerConnection?
        /// No answers come over the current connection any more.
        var hasEnded = false
        var carried: UInt64 = 0
        var search = SuccessorSearch()
        var searching: Task<Void, Never>?
        var searchSleeps = false
        var introduction: Introduction?
        /// Whether the destination of the current connection takes introductions.
        var takesIntroductions = false
    }

    let export: String
    /// The migration by which the disk moved.
    public let migration: MigrationID
    let transport: PeerTransport
    let logger: Logger
    /// The records of the disk; nil if there are none, and the link then stays with its destination.
    let records: SourceRecords?
    /// The counts of changes that the destination may have lost: one for each disk that the link serves, at least one.
    public let losses: [LossCount]
    let state: WatchedValue<State>

    init(
        destination: PeerAddress, export: String, migration: MigrationID, transport: PeerTransport,
        logger: Logger, records: SourceRecords? = nil, losses: [LossCount] = [LossCount()], isResumed: Bool = false,
        mayRepeat: Bool = false
    ) {
        self.losses = losses
        state = WatchedValue(
            State(destination: destination, requests: ForwardQueue(isResumed: isResumed, mayRepeat: mayRepeat)))
        self.logger = logger
        self.records = records
        self.export = export
        self.migration = migration
        self.transport = transport
    }

    /// The link of a disk that moved in an earlier life of this node.
    public convenience init(
        record: MovedRecord, records: SourceRecords? = nil, transport: PeerTransport, logger: Logger
    ) {
        self.init(
            destination: record.destination, export: record.export, migration: record.migration, transport: transport,
            logger: logger, records: records, isResumed: true)
        commit()
        start()
    }

    /// `AsyncRequestHandler`.
    public func handle(_ request: AsyncRequest) {
        let isStopped = state.withLockedValue { state in
            if state.isStopped { return true }
            let id = state.requests.begin()
            state.pending[id] = request
            state.queue?.yield(id)
            return false
        }
        if isStopped { request.finish(ESHUTDOWN) }
    }

    /// The node that has the disk, or forwards to the one that has it.
    public var destination: PeerAddress { state.withLockedValue { $0.destination } }

    /// Whether the destination has said that it serves the disk.
    public var isActive: Bool { state.withLockedValue { $0.isActive } }

    /// The reason why the destination does not take requests, or is needed though the disk has moved on from there. nil
    /// if neither applies, or the reason is not known.
    public var problem: String? { state.withLockedValue { $0.problem ?? $0.detour } }

    /// The time that the destination took to answer the hello; nil before it has.
    var roundTrip: Duration? { state.withLockedValue { $0.roundTrip } }

    /// Bytes that have crossed, both ways.
    var traffic: UInt64 {
        state.withLockedValue { $0.carried + ($0.connection.map { $0.traffic.sent + $0.traffic.received } ?? 0) }
    }

    func start() {
        state.withLockedValue { state in
            guard state.task == nil else { return }
            state.task = Task { [self] in await stayConnected() }
        }
    }

    func commit() {
        state.withLockedValue { $0.isCommitted = true }
    }

    /// Marks the destination as serving the disk: it said so, here or on another connection.
    func confirmActive() {
        state.withLockedValue { $0.isActive = true }
    }

    /// Makes the next connection, on which the destination is told again that the disk is its own.
    func reconnect() {
        state.withLockedValue { $0.connection }?.close()
    }

    /// Takes no further requests, and ends once its requests are answered.
    public func retire() {
        let isIdle = state.withLockedValue { state in
            state.isRetired = true
            return state.pending.isEmpty
        }
        if isIdle { stop() }
    }

    /// Ends the link; requests without an answer end with `ESHUTDOWN`, and their clients must not think them done.
    public func stop() {
        let (tasks, connection, pending) = state.withLockedValue { state in
            state.isStopped = true
            defer {
                state.pending = [:]
                state.introduction = nil
            }
            return ([state.task, state.searching], state.connection, state.pending)
        }
        for task in tasks { task?.cancel() }
        connection?.close()
        for request in pending.values { request.finish(ESHUTDOWN) }
    }

    /// Returns once nothing is done for it any more; only after `stop`.
    public func waitUntilEnded() async { await state.withLockedValue { $0.task }?.value }

    /// Waits until the current connection takes clients' requests, the time is over, or the task is cancelled.
    func waitUntilConnected(atMost limit: Duration) async {
        await state.wait(until: { $0.queue != nil }, atMost: limit)
    }

    /// Waits without a limit until the destination serves the disk, or the link is stopped.
    func waitUntilActive() async {
        await state.wait { $0.isActive || $0.isStopped }
    }

    private func stayConnected() async {
        while !Task.isCancelled {
            let destination = destination
            await stayConnected(to: destination)
        }
    }

    /// Goes on until the disk is to be reached elsewhere.
    private func stayConnected(to destination: PeerAddress) async {
        await Reconnection(destination: destination, transport: transport).run {
            self.destination == destination
        } serve: { [self] in
            try await serve($0, from: destination)
        } ended: { problem in
            if let problem, self.destination == destination { log(problem) }
            state.withLockedValue { state in
                state.endQueue()
                state.requests.disconnected()
                if let traffic = state.connection?.traffic {
                    state.carried += traffic.sent + traffic.received
                }
                state.connection = nil
                state.takesIntroductions = false
            }
        }
    }

    /// Logs a problem once; the destination is tried again all the same.
    private func log(_ problem: String) {
        let isNew = state.withLockedValue { state in
            defer { state.problem = problem }
            return state.problem != problem && !state.isStopped
        }
        if isNew { logger.warning("\(export) at \(destination): \(problem); its clients wait") }
    }
}
