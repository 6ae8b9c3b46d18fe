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
import Peer
import PeerModel

/// The source's end of the two flows of a disk: answers what the destination asks of the image, for as long as it needs
/// it.
///
/// 1. `start` connects both flows, before the hand-over or after it, and again whenever they are cut. Until the hand-over
/// only reads are answered, of the disk as it is then. 2. `commit` is said when the disk is the destination's for good:
/// every later connection says so first. 3. The destination says that the disk is complete; that is durably noted, and
/// the image is *released*.
public final class SupplyLink: Sendable {
    /// What is supplied, and to whom.
    struct Parts: Sendable {
        let destination: PeerAddress
        let export: String
        let migration: MigrationID
        let image: RawImage
        let geometry: BlockGeometry
        /// What clients have read of the disk here, as far as that is known.
        let reads: ReadCounts?
        let rate: RateLimit
        let records: SourceRecords
        let transport: PeerTransport
        let pools: WorkPools
        let logger: Logger
    }

    /// What the destination lacks.
    public struct Left: Sendable {
        /// How many blocks.
        public var blocks: UInt64
        /// Their bytes.
        public var bytes: UInt64
        /// Until it lacks nothing; nil where that can't be told.
        public var seconds: Double?
    }

    private struct State {
        var isCommitted = false
        var isStopped = false
        var isReleased = false
        var ledger: Ledger?
        /// What the destination lacks, as it has said last.
        var left: Left?
        var problem: String?
        var tasks: [Task<Void, Never>] = []
        var connections: [LaneKind: PeerConnection] = [:]
        var carried: UInt64 = 0
        /// What of that is known to be what.
        var wire = WireBytes()
        /// Demand requests that have come and not been answered.
        var demanded = 0
        /// When the last demand came, or the first had to be expected.
        var lastDemand: ContinuousClock.Instant?
        /// Bytes per second that the path has carried while the disk was copied; 0 where that is not known.
        var pathCarries: UInt64 = 0
        /// What has been agreed on at the hand-over; nil before it, and in a later life of this node.
        var agreed: SuppliedRoot.Agreed?
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    /// zstd's: somebody waits, or soon may, for what goes over these connections.
    private static let level: Int32 = 3

    private let parts: Parts
    private let state = NIOLockedValueBox(State())

    init(parts: Parts) {
        self.parts = parts
    }

    /// The link of a disk that moved in an earlier life of this node; nil where nothing of it is needed any more.
    public convenience init?(
        record: MovedRecord, image: RawImage, records: SourceRecords, rate: RateLimit, transport: PeerTransport,
        pools: WorkPools, logger: Logger
    ) {
        guard let blockSize = record.blockSize, let geometry = BlockGeometry(size: image.size, blockSize: blockSize)
        else { return nil }
        self.init(
            parts: Parts(
                destination: record.destination, export: record.export, migration: record.migration, image: image,
                geometry: geometry, reads: nil, rate: rate, records: records, transport: transport, pools: pools,
                logger: logger))
        commit()
        start()
    }

    /// The limit on what is sent; may be changed.
    public var rate: RateLimit { parts.rate }

    /// Whether the destination needs nothing any more.
    public var isReleased: Bool { state.withLockedValue { $0.isReleased } }

    /// Why the destination can't be reached; nil where it can.
    public var problem: String? { state.withLockedValue { $0.problem } }

    /// What has crossed.
    var wire: WireBytes {
        state.withLockedValue { state in
            var wire = state.wire
            wire.total = state.connections.values.reduce(state.carried) { $0 + $1.traffic.sent + $1.traffic.received }
            wire.control = wire.total - min(wire.total, wire.data + wire.fingerprints)
            return wire
        }
    }

    /// Where what was missing at the hand-over came from; nil before the end.
    var ledger: Ledger? { state.withLockedValue { $0.ledger } }

    /// What the destination lacks; nil where it has not said so.
    public var left: Left? { state.withLockedValue { $0.left } }

    func start() {
        state.withLockedValue { state in
            guard state.tasks.isEmpty, !state.isStopped else { return }
            state.tasks = LaneKind.allCases.map { kind in Task { [self] in await stayConnected(kind) } }
        }
    }

    /// - Parameters:
    ///   - pathCarries: bytes per second, as far as that is known.
    ///   - agreed: what both sides have agreed on, as far as that is known.
    func commit(pathCarries: UInt64 = 0, agreed: SuppliedRoot.Agreed? = nil) {
        state.withLockedValue { state in
            state.isCommitted = true
            state.pathCarries = pathCarries
            state.agreed = agreed
            // The first demands are on their way.
            state.lastDemand = .now
        }
    }

    /// Ends the link.
    public func stop() {
        let waiters = state.withLockedValue { state in
            state.isStopped = true
            state.agreed = nil
            for task in state.tasks { task.cancel() }
            for connection in state.connections.values { connection.close() }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns once nothing is done for it any more; only after `stop`.
    public func waitUntilEnded() async {
        for task in state.withLockedValue({ $0.tasks }) { await task.value }
    }

    /// Waits, however long it takes, until the destination needs nothing any more, or the link is stopped.
    func waitUntilReleased() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLockedValue { state in
                let isOver = state.isReleased || state.isStopped
                if !isOver { state.waiters.append(continuation) }
                return isOver
            }
            if isOver { continuation.resume() }
        }
    }

    private func stayConnected(_ kind: LaneKind) async {
        await Reconnection(destination: parts.destination, transport: parts.transport).run {
            !isReleased
        } serve: { [self] in
            try await serve(kind, $0)
        } ended: { problem in
            if let problem { note(problem) }
            state.withLockedValue { state in
                if let traffic = state.connections.removeValue(forKey: kind)?.traffic {
                    state.carried += traffic.sent + traffic.received
                }
                if kind == .demand {
                    state.demanded = 0
                    state.left?.seconds = nil
                }
            }
        }
    }

    private func note(_ problem: String) {
        let isNew = state.withLockedValue { state in
            defer { state.problem = problem }
            return state.problem != problem && !state.isStopped && !state.isReleased
        }
        if isNew { parts.logger.warning("\(parts.export) at \(parts.destination): \(problem); trying again") }
    }

    private func serve(_ kind: LaneKind, _ connection: PeerConnection) async throws {
        let isCommitted = state.withLockedValue { state in
            state.connections[kind] = connection
            return state.isCommitted
        }
        let hello = Hello(
            purpose: kind.purpose, migration: parts.migration, isCommitted: isCommitted, export: parts.export)
        var frames = connection.inbound.makeAsyncIterator()
        _ = try await connection.greet(hello, &frames)
        if kind == .bulk { try await connection.keepBacklogSmall() }
        let pace = NIOLockedValueBox(BulkPace())
        var server = SupplyServer(
            connection: connection, image: parts.image, geometry: parts.geometry,
            pool: kind == .demand ? parts.pools.urgent : parts.pools.background,
            sender: try BlockSender(
                image: parts.image, geometry: parts.geometry, manifest: nil, pace: CompressionPace(level: Self.level),
                windowLog: kind == .demand ? ZstdParameters.demandWindowLog : ZstdParameters.windowLog),
            scratch: parts.records.directory.scratch, reads: parts.reads,
            // One flow may use it; it is the one that is asked at the end.
            agreed: { [self] in kind == .bulk ? state.withLockedValue { $0.agreed } : nil },
            beforeSending: { [self] in
                if kind == .bulk { try await makeWay(for: $1, connection, pace) }
                count($0, $1)
            })
        while let frame = try await frames.next() {
            let message = try Message(frame: frame)
            if case .refused(let reason) = message { throw MigrationError.refused(reason) }
            if case .postcopy(.complete(let ledger)) = message {
                try release(ledger.limited(to: parts.geometry.size))
                wake()
                try await connection.send(Message.postcopy(.released).encoded())
                // The destination closes once it has heard.
                continue
            }
            if case .postcopy(.left(let missing, let milliseconds)) = message {
                let blocks = min(missing, parts.geometry.blockCount)
                let left = Left(
                    blocks: blocks, bytes: blocks * UInt64(parts.geometry.blockSize),
                    seconds: milliseconds.map { Double($0) / 1000 })
                state.withLockedValue { $0.left = left }
                continue
            }
            if kind == .demand { noteDemand() }
            defer { if kind == .demand { state.withLockedValue { $0.demanded = max(0, $0.demanded - 1) } } }
            try await server.answer(message)
            // Not before: it may be refused again and again.
            state.withLockedValue { $0.problem = nil }
        }
    }

    private func noteDemand() {
        state.withLockedValue { state in
            state.demanded += 1
            state.lastDemand = .now
        }
    }

    private func count(_ message: Message, _ frameLength: Int) {
        let bytes = UInt64(frameLength)
        state.withLockedValue { state in
            if case .data = message { state.wire.data += bytes } else { state.wire.fingerprints += bytes }
        }
    }

    /// Bulk waits while somebody waits for a demand of this disk, goes by `BulkPace` for a while after one, and keeps to the
    /// limit.
    private func makeWay(
        for count: Int, _ connection: PeerConnection, _ pace: NIOLockedValueBox<BulkPace>
    ) async throws {
        if pace.withLockedValue({ $0.isDue(at: .now) }) { await adjust(pace, connection) }
        while state.withLockedValue({ $0.demanded > 0 }) {
            guard connection.isOpen else { throw PeerError.cut }
            try await Task.sleep(for: .microseconds(500))
        }
        try await parts.rate.wait(for: count) { connection.isOpen }
    }

    private func adjust(_ pace: NIOLockedValueBox<BulkPace>, _ connection: PeerConnection) async {
        guard let path = await connection.path() else { return }
        let (lastDemand, carried) = state.withLockedValue { state in
            // It is old by the time of another connection.
            defer { if state.isCommitted { state.pathCarries = 0 } }
            return (state.lastDemand, state.pathCarries)
        }
        let change = pace.withLockedValue {
            $0.next(path, carried: carried, sinceDemand: lastDemand?.duration(to: .now), at: .now)
        }
        if let change { await connection.limitPace(bytesPerSecond: change.bytesPerSecond) }
    }

    private func release(_ ledger: Ledger) throws {
        guard state.withLockedValue({ $0.isCommitted }) else { throw MigrationError.unexpected("complete too early") }
        try parts.records.release(parts.migration)
        let isNew = state.withLockedValue { state in
            defer {
                state.isReleased = true
                state.agreed = nil
                state.ledger = ledger
            }
            return !state.isReleased
        }
        if isNew { parts.logger.info("\(parts.export) is at \(parts.destination) whole; the image here is not needed") }
    }

    private func wake() {
        let waiters = state.withLockedValue { state in
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}
