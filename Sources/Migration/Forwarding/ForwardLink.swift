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
<<<<<<< HEAD
=======

    private func serve(_ connection: PeerConnection, from destination: PeerAddress) async throws {
        let isCommitted = state.withLockedValue { state in
            state.connection = connection
            return state.isCommitted
        }
        let hello = Hello(purpose: .forward, migration: migration, isCommitted: isCommitted, export: export)
        connection.announceLongFrames()
        let asked = ContinuousClock.now
        var frames = connection.inbound.makeAsyncIterator()
        let welcome = try await connection.greet(hello, &frames)
        _ = try ProtocolSupport.agreement(source: .own, destination: welcome.support)
        let (ready, continuation) = AsyncStream.makeStream(of: Void.self)
        let opening = state.withLockedValue { state -> ([ForwardRequest], [MigrationID]?)? in
            // All that was sent there has been answered, and later requests may be for its successor.
            guard state.destination == destination, !state.requests.hasLeft else { return nil }
            state.roundTrip = asked.duration(to: .now)
            state.whenReady = continuation
            state.takesIntroductions = welcome.support.capabilities.contains(.successors)
            let first = countLosses(&state) {
                $0.connected(boot: welcome.boot, isCommitted: isCommitted)
            }
            return (first, state.takesIntroductions ? state.introduction?.migrations : nil)
        }
        guard let (first, known) = opening else { throw PeerError.cut }
        if let known { try await connection.send(Message.introduce(known).encoded()) }
        async let sending: Void = send(first, ready, isCommitted, over: connection)
        do {
            frames: while let frame = try await connection.nextFrame(&frames) {
                switch try Message(frame: frame) {
                case .answer(let answer):
                    // Only a node that serves the disk answers.
                    confirmActive()
                    take(answer)
                    if let flush = state.withLockedValue({ $0.requests.lastFlushIfDue() }) {
                        try await connection.send(Message.request(flush).encoded())
                    }
                case .introduced: introduced(at: destination)
                case .successor(let successor): heard(successor, from: destination)
                default: break frames
                }
            }
        } catch {}
        state.withLockedValue { state in
            state.whenReady?.finish()
            state.queue?.finish()
        }
        connection.close()
        try await sending
    }

    /// Sends the repeated changes first, and the clients' requests once these are answered.
    private func send(
        _ first: [ForwardRequest], _ ready: AsyncStream<Void>, _ isCommitted: Bool, over connection: PeerConnection
    ) async throws {
        for request in first { try await connection.send(Message.request(request).encoded()) }
        if !first.isEmpty { for await _ in ready { break } }
        guard state.withLockedValue({ $0.requests.isReady }) else { return }
        let ids = openQueue(isCommitted)
        // The connection may have ended before there was a queue to finish.
        guard connection.isOpen else { throw PeerError.cut }
        try await send(ids, over: connection)
    }

    /// Directs new requests into this connection's queue, behind those without an answer.
    private func openQueue(_ isCommitted: Bool) -> AsyncStream<UInt64> {
        let (stream, continuation) = AsyncStream.makeStream(of: UInt64.self)
        state.withLockedValue { state in
            for id in state.requests.unanswered { continuation.yield(id) }
            state.queue = continuation
            state.isConnected = true
            state.problem = nil
        }
        if isCommitted { confirmActive() }
        return stream
    }

    private func send(_ ids: AsyncStream<UInt64>, over connection: PeerConnection) async throws {
        for await id in ids {
            guard let isChange = state.withLockedValue({ $0.pending[id]?.kind.isChange }) else { continue }
            if isChange { try await makeRoom(connection) }
            // Otherwise the request has ended, or this connection ends and the next one sends what has no answer.
            guard let remote = state.withLockedValue({ $0.leaves(id) }) else { continue }
            try await connection.send(Message.request(remote).encoded())
        }
    }

    /// Changes the queue, and counts the losses that it finds before any client is answered.
    private func countLosses<Result>(_ state: inout State, _ work: (inout ForwardQueue) -> Result) -> Result {
        let before = state.requests.losses
        defer { if state.requests.losses != before { for count in losses { count.increment() } } }
        return work(&state.requests)
    }

    private func makeRoom(_ connection: PeerConnection) async throws {
        if let flush = state.withLockedValue({ $0.requests.flushIfDue() }) {
            try await connection.send(Message.request(flush).encoded())
        }
        while state.withLockedValue({ $0.requests.isFull }) {
            guard connection.isOpen else { throw PeerError.cut }
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    private func take(_ answer: ForwardAnswer) {
        let (ended, isLast) = state.withLockedValue { state -> ((AsyncRequest, CInt)?, Bool) in
            switch countLosses(&state, { $0.answered(answer.id, error: answer.error) }) {
            case .nothing: break
            case .ready: state.whenReady?.yield()
            case .left, .stays: endLeaving(&state)
            case .ended(let id, let error):
                guard let request = state.pending.removeValue(forKey: id) else { break }
                return ((request, error), state.isRetired && state.pending.isEmpty)
            }
            return (nil, false)
        }
        defer { if isLast { stop() } }
        guard let (request, error) = ended else { return }
        guard request.kind == .read, error == 0 else { return request.finish(error) }
        guard answer.payload.readableBytes == request.buffer.count else { return request.finish(EIO) }
        answer.payload.withUnsafeReadableBytes { request.buffer.copyMemory(from: $0) }
        request.finish(0)
    }
>>>>>>> h/mut
}
