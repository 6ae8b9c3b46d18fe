import Block
import BlockModel
import Glibc
import Index
import Logging
import MigrationCore
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer
import PeerModel

/// The source's end of a disk's two channels. It connects them, and answers questions about the image for as long as
/// the destination needs it. `PostCopySourceMachine` judges each question.
///
/// `start` connects both channels, before the switchover or after it, and again whenever they are cut. `commit` is called when
/// the disk is the destination's for good. Any thread may call it.
public final class PostCopySourceLink: Sendable {
    /// The disk, its destination, and the node's services.
    struct Parts: Sendable {
        let destination: PeerAddress
        let export: String
        let migration: MigrationID
        let image: any DiskImage
        let geometry: BlockGeometry
        /// Counts of the clients' reads here; nil if they were not kept.
        let reads: ReadCounts?
        /// The blocks that were free when the migration began; nil if that is not known any more.
        let free: FreeBlocks?
        let rate: RateLimit
        let records: SourceRecords
        let transport: PeerTransport
        let pools: WorkPools
        let logger: Logger
        /// Learns of blocks that are sent; nil in a later life of this node.
        var blockMap: SourceBlockMap?
    }

    /// The blocks that the destination lacks.
    public struct Left: Sendable {
        /// The number of missing blocks.
        public var blocks: UInt64
        /// Their bytes.
        public var bytes: UInt64
        /// Until it lacks nothing; nil if the destination can't tell, or is not connected.
        public var seconds: Double?
    }

    struct State {
        var machine: PostCopySourceMachine
        var tasks: [Task<Void, Never>] = []
        var connections: [PostCopyChannel: PeerConnection] = [:]
        /// Bytes that connections of the past have carried.
        var carried: UInt64 = 0
        /// Bytes of known kinds, of all connections.
        var wire = WireBytes()
        /// Bytes of blocks that were free.
        var freeSent: UInt64 = 0
        /// The state on which both sides agreed at the switchover; nil before it, after the end, and in a later life of this node.
        var agreed: SourceRootHash.Agreed?
    }

    let parts: Parts
    let state: WatchedValue<State>

    init(parts: Parts) {
        self.parts = parts
        let limits = PostCopySourceMachine.Limits(readBytes: UInt64(PeerConnection.maximumFrame - 1024))
        state = WatchedValue(State(machine: PostCopySourceMachine(geometry: parts.geometry, limits: limits)))
    }

    /// The link of a disk that moved in an earlier life of this node; nil if nothing of it is needed any more.
    public convenience init?(
        record: MovedRecord, image: any DiskImage, records: SourceRecords, rate: RateLimit, transport: PeerTransport,
        pools: WorkPools, logger: Logger
    ) {
        guard let geometry = record.blocks(ofDisk: image.size) else { return nil }
        self.init(
            parts: Parts(
                destination: record.destination, export: record.export, migration: record.migration, image: image,
                geometry: geometry, reads: nil, free: nil, rate: rate, records: records, transport: transport,
                pools: pools,
                logger: logger))
        commit()
        start()
    }

    /// The limit on what is sent; may be changed.
    public var rate: RateLimit { parts.rate }

    /// Whether the destination needs nothing any more.
    public var isReleased: Bool { ask { $0.isReleased } }

    /// Why the destination can't be reached; nil while it can.
    public var problem: String? { ask { $0.problem } }

    /// Bytes that have crossed, both ways.
    var wire: WireBytes {
        state.withLockedValue { state in
            var wire = state.wire
            wire.total = state.connections.values.reduce(state.carried) { $0 + $1.traffic.sent + $1.traffic.received }
            wire.control = wire.total - min(wire.total, wire.data + wire.fingerprints)
            return wire
        }
    }

    /// The blocks that were free when the migration began; nil if that is not known any more.
    var free: FreeBlocks? { parts.free }
    /// Bytes of them that have been sent.
    var freeSent: UInt64 { state.withLockedValue { $0.freeSent } }

    /// The origins of the blocks that were missing at the switchover; nil before the end.
    var ledger: Ledger? { ask { $0.ledger } }

    /// The blocks that the destination lacks; nil if it has not said so.
    public var left: Left? {
        ask { $0.left }.map { Left(blocks: $0.blocks, bytes: $0.bytes, seconds: $0.seconds) }
    }

    func start() {
        state.withLockedValue { state in
            guard state.tasks.isEmpty, !state.machine.isOver else { return }
            state.tasks = PostCopyChannel.allCases.map { kind in Task { [self] in await stayConnected(kind) } }
        }
    }

    /// The disk is the destination's for good.
    /// - Parameters:
    ///   - pathCarries: bytes per second; 0 if that is not known.
    ///   - agreed: what both sides have agreed on; nil if that is not known.
    func commit(pathCarries: UInt64 = 0, agreed: SourceRootHash.Agreed? = nil) {
        state.withLockedValue { state in
            state.machine.commit(pathCarries: pathCarries, at: .now)
            state.agreed = agreed
        }
    }

    /// Ends the link.
    public func stop() {
        let (tasks, connections) = state.withLockedValue { state in
            state.machine.stop()
            state.agreed = nil
            return (state.tasks, Array(state.connections.values))
        }
        for task in tasks { task.cancel() }
        for connection in connections { connection.close() }
    }

    /// Returns once nothing is done for it any more; only after `stop`.
    public func waitUntilEnded() async {
        for task in state.withLockedValue({ $0.tasks }) { await task.value }
    }

    /// Waits, however long it takes, until the destination needs nothing any more, or the link is stopped.
    func waitUntilReleased() async {
        await state.wait { $0.machine.isOver }
    }

    /// As `waitUntilReleased`, until the task is cancelled.
    /// - Throws: `CancellationError`.
    public func waitForRelease() async throws { try await state.waitUnlessCancelled { $0.machine.isOver } }

    /// Asks the machine, or tells it something that needs no action.
    func ask<Answer>(_ question: (inout PostCopySourceMachine) -> Answer) -> Answer {
        state.withLockedValue { question(&$0.machine) }
    }

    private func stayConnected(_ kind: PostCopyChannel) async {
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
                state.machine.channelDown(kind)
            }
        }
    }

    private func note(_ problem: String) {
        guard ask({ $0.failed(problem) }) else { return }
        parts.logger.warning("\(parts.export) at \(parts.destination): \(problem); trying again")
    }
}
