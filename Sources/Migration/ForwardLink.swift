import Block
import NIOCore
import Peer
import Synchronization

/// Carries the requests of the source's clients to the destination, for as long as this node lives.
///
/// 1. `start` connects, before the switchover, so that the guest need not wait for that. 2. `commit` is said when the
/// disk is the destination's for good; from then on every new connection says so first, and that makes a destination
/// that crashed in between take over (invariant 5). 3. A request waits until it is answered; when the link is cut it is
/// sent again on the next connection. 4. `stop` is for a migration that came to nothing.
public final class ForwardLink: RequestForwarder, Sendable {
    private struct State {
        var nextID: UInt64 = 0
        var pending: [UInt64: ForwardedRequest] = [:]
        var queue: AsyncStream<UInt64>.Continuation?
        var isCommitted = false
        var isConnected = false
        var isActive = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        var task: Task<Void, Never>?
        var connection: PeerConnection?
        var carried: UInt64 = 0
    }

    private static let firstDelay = Duration.milliseconds(50)
    private static let longestDelay = Duration.seconds(2)

    private let destination: PeerAddress
    private let export: String
    private let migration: MigrationID
    private let group: any EventLoopGroup
    private let state = Mutex(State())

    init(destination: PeerAddress, export: String, migration: MigrationID, group: any EventLoopGroup) {
        self.destination = destination
        self.export = export
        self.migration = migration
        self.group = group
    }

    /// The link of a disk that moved in an earlier life of this node.
    public convenience init(record: MovedRecord, group: any EventLoopGroup) {
        self.init(
            destination: record.destination, export: record.export, migration: record.migration, group: group)
        commit()
        start()
    }

    /// `RequestForwarder`.
    public func forward(_ request: ForwardedRequest) {
        state.withLock { state in
            let id = state.nextID
            state.nextID += 1
            state.pending[id] = request
            state.queue?.yield(id)
        }
    }

    /// Whether the destination has said that it serves the disk.
    public var isActive: Bool { state.withLock { $0.isActive } }

    /// Bytes that have crossed, both ways.
    var traffic: UInt64 {
        state.withLock { $0.carried + ($0.connection.map { $0.traffic.sent + $0.traffic.received } ?? 0) }
    }

    func start() {
        state.withLock { state in
            guard state.task == nil else { return }
            state.task = Task { [self] in await stayConnected() }
        }
    }

    func commit() {
        state.withLock { $0.isCommitted = true }
    }

    /// The destination serves the disk: it said so, here or on another connection.
    func confirmActive() {
        let waiters = state.withLock { state in
            state.isActive = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Ends the link; no request may be pending.
    public func stop() {
        let waiters = state.withLock { state in
            state.task?.cancel()
            state.connection?.close()
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func waitUntilConnected(atMost limit: Duration) async {
        let end = ContinuousClock.now + limit
        while ContinuousClock.now < end, !(state.withLock { $0.isConnected }) {
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Waits, however long it takes, until the destination serves the disk.
    func waitUntilActive() async {
        await withCheckedContinuation { continuation in
            let isActive = state.withLock { state in
                if !state.isActive { state.waiters.append(continuation) }
                return state.isActive
            }
            if isActive { continuation.resume() }
        }
    }

    private func stayConnected() async {
        var delay = Self.firstDelay
        while !Task.isCancelled {
            let began = ContinuousClock.now
            try? await PeerConnection.connect(to: destination, on: group) { [self] in try await serve($0) }
            state.withLock { state in
                state.isConnected = false
                state.queue?.finish()
                state.queue = nil
                if let traffic = state.connection?.traffic { state.carried += traffic.sent + traffic.received }
                state.connection = nil
            }
            if began.duration(to: .now) > Self.longestDelay { delay = Self.firstDelay }
            try? await Task.sleep(for: delay)
            delay = min(delay * 2, Self.longestDelay)
        }
    }

    private func serve(_ connection: PeerConnection) async throws {
        let isCommitted = state.withLock { state in
            state.connection = connection
            return state.isCommitted
        }
        let hello = Hello(purpose: .forward, migration: migration, isCommitted: isCommitted, export: export)
        try await connection.send(Message.hello(hello).encoded())
        var frames = connection.inbound.makeAsyncIterator()
        guard let frame = try await frames.next(), case .welcome = try Message(frame: frame) else { return }
        let ids = openQueue(isCommitted)
        async let sending: Void = send(ids, over: connection)
        do {
            while let frame = try await frames.next() {
                guard case .answer(let answer) = try Message(frame: frame) else { break }
                take(answer)
            }
        } catch {}
        state.withLock { $0.queue?.finish() }
        connection.close()
        try await sending
    }

    /// New requests go into this connection's queue, behind those that are still without an answer.
    private func openQueue(_ isCommitted: Bool) -> AsyncStream<UInt64> {
        let (stream, continuation) = AsyncStream.makeStream(of: UInt64.self)
        state.withLock { state in
            for id in state.pending.keys.sorted() { continuation.yield(id) }
            state.queue = continuation
            state.isConnected = true
        }
        if isCommitted { confirmActive() }
        return stream
    }

    private func send(_ ids: AsyncStream<UInt64>, over connection: PeerConnection) async throws {
        for await id in ids {
            guard let request = state.withLock({ $0.pending[id] }) else { continue }
            try await connection.send(Message.request(RemoteRequest(id, request)).encoded())
        }
    }

    private func take(_ answer: RemoteAnswer) {
        guard let request = state.withLock({ $0.pending.removeValue(forKey: answer.id) }) else { return }
        guard request.kind == .read, answer.error == 0 else { return request.finish(answer.error) }
        guard answer.payload.readableBytes == request.buffer.count else { return request.finish(5) }
        answer.payload.withUnsafeReadableBytes { request.buffer.copyMemory(from: $0) }
        request.finish(0)
    }
}

extension RemoteRequest {
    fileprivate init(_ id: UInt64, _ request: ForwardedRequest) {
        var payload = ByteBuffer()
        if request.kind == .write { payload.writeBytes(UnsafeRawBufferPointer(request.buffer)) }
        self.init(
            id: id, kind: request.kind, isForced: request.isForcedUnitAccess, mayPunchHole: request.mayPunchHole,
            offset: request.offset, length: request.length, payload: payload)
    }
}
