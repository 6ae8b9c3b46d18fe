import BlockModel
import MigrationProtocol
import PeerModel

/// Decides how the source of a post-copy answers the destination. It decides which questions are valid, how bulk makes
/// way for demand, and when the image is not needed any more.
///
/// 1. *Early*: the switchover has not come; the channels may be up, and answer for the disk as it is. 2. *Committed*: the
/// disk is the destination's, and every new connection says so first. 3. The destination says that the disk is complete;
/// that is recorded, and the image is *released*.
///
/// The driver takes the messages of one channel one after the other: the next one only after `answered`.
package struct PostCopySourceMachine: Sendable {
    /// The tuned numbers of one disk.
    package struct Limits: Sendable {
        /// Blocks that one message may ask for.
        package var neededBlocks = PostcopyMessage.maximumNeeded
        /// Bytes of blocks in one answer: a demand waits for the answer that is on its way.
        package var batchBytes = 128 << 10
        /// Bytes that one read may ask for.
        package var readBytes: UInt64

        package init(readBytes: UInt64) {
            self.readBytes = readBytes
        }
    }

    /// The blocks that the destination lacks, as it has said last.
    package struct Left: Equatable, Sendable {
        package let blocks: UInt64
        package let bytes: UInt64
        /// Until it lacks nothing; nil if the destination can't tell, or is not connected.
        package internal(set) var seconds: Double?
    }

    /// Work for the driver. What is to be answered goes over the channel of the question, in order.
    package enum Action: Sendable {
        /// Make the image durable, and answer.
        case flush(id: UInt64)
        /// Read the image, and answer.
        case read(id: UInt64, offset: UInt64, length: Int)
        /// Say what clients have read most.
        case rank
        /// Say the fingerprints of these blocks.
        case describe([Range<UInt64>])
        /// Send the bytes of these blocks, at most `batch` of them in one message. Blocks that can't be read are named one by
        /// one.
        case send([UInt64], batch: Int)
        /// Compute and send the root of the image without these blocks, which need not be readable.
        case sendRoot(without: BlockSet)
        /// Record durably that the destination needs nothing any more, then call `released`.
        case recordRelease(Ledger)
        /// Tell the destination that it will not be asked again, and everybody who waits for the release.
        case sayReleased
        /// Tell the operator that the image is not needed any more.
        case reportRelease
    }

    private enum Phase {
        case early
        case committed
        case released(Ledger)
    }

    private let geometry: BlockGeometry
    private let limits: Limits
    private var phase = Phase.early
    private var isStopped = false
    /// Blocks that the guest has replaced, as said over a channel since it is up or has asked for a root.
    private var replaced: [PostCopyChannel: BlockSet] = [:]
    /// The end of the last of them.
    private var replacedEnd: [PostCopyChannel: UInt64] = [:]
    /// Channels of which a question is being answered.
    private var answering: Set<PostCopyChannel> = []
    /// Demands that have come and not been answered.
    private var demanded = 0
    /// When the last demand came, or the first had to be expected.
    private var lastDemand: ContinuousClock.Instant?
    /// Bytes per second that the path has carried while the disk was copied; 0 if that is not known.
    private var pathCarries: UInt64 = 0
    private var pace = BulkPace()

    /// The blocks that the destination lacks; nil if it has not said so.
    package private(set) var left: Left?
    /// Why the destination can't be reached; nil while it can.
    package private(set) var problem: String?

    package init(geometry: BlockGeometry, limits: Limits) {
        self.geometry = geometry
        self.limits = limits
    }

    /// Whether the disk is the destination's for good.
    package var isCommitted: Bool { if case .early = phase { false } else { true } }

    /// Whether the destination needs nothing any more, and that is durable.
    package var isReleased: Bool { if case .released = phase { true } else { false } }

    /// Whether nobody needs to wait any longer.
    package var isOver: Bool { isReleased || isStopped }

    /// The origins of the blocks that were missing at the switchover; nil before the release.
    package var ledger: Ledger? { if case .released(let ledger) = phase { ledger } else { nil } }

    // MARK: The switchover and the end

    /// The disk is the destination's.
    /// - Parameter pathCarries: bytes per second; 0 if that is not known.
    package mutating func commit(pathCarries: UInt64, at now: ContinuousClock.Instant) {
        if !isCommitted { phase = .committed }
        self.pathCarries = pathCarries
        // The first demands are on their way.
        lastDemand = now
    }

    /// The link ends, whatever the destination still needs.
    package mutating func stop() { isStopped = true }

    /// The release is durable.
    package mutating func released(_ ledger: Ledger) -> [Action] {
        let isNew = !isReleased
        phase = .released(ledger)
        return (isNew ? [.reportRelease] : []) + [.sayReleased]
    }

    // MARK: Channels

    /// A channel is being connected.
    package mutating func channelUp(_ channel: PostCopyChannel) {
        replaced[channel] = nil
        replacedEnd[channel] = nil
        answering.remove(channel)
        if channel == .bulk { pace = BulkPace() }
    }

    /// A channel is gone.
    package mutating func channelDown(_ channel: PostCopyChannel) {
        guard channel == .demand else { return }
        demanded = 0
        left?.seconds = nil
    }

    /// A connection could not be made, or has ended.
    /// - Returns: whether the operator is to be told.
    package mutating func failed(_ problem: String) -> Bool {
        defer { self.problem = problem }
        return self.problem != problem && !isOver
    }

    // MARK: Messages

    /// The destination has sent a message.
    /// - Throws: `MigrationError.unexpected` if it can't stand here; `refused` in the destination's words.
    package mutating func receive(
        _ message: Message, on channel: PostCopyChannel, at now: ContinuousClock.Instant
    ) throws -> [Action] {
        switch message {
        case .refused(let reason), .refusedForRoom(let reason): throw MigrationError.refused(reason)
        case .postcopy(.left(let missing, let milliseconds)):
            noteLeft(missing, milliseconds)
            return []
        case .postcopy(.complete(let ledger)):
            guard isCommitted else { throw MigrationError.unexpected("complete too early") }
            return [.recordRelease(ledger.limited(to: geometry.size))]
        default:
            answering.insert(channel)
            if channel == .demand {
                demanded += 1
                lastDemand = now
            }
            return try answer(message, on: channel)
        }
    }

    /// The message has been dealt with.
    package mutating func answered(on channel: PostCopyChannel) {
        guard answering.remove(channel) != nil else { return }
        if channel == .demand { demanded = max(0, demanded - 1) }
        // Not before: it may be refused again and again.
        problem = nil
    }

    private mutating func noteLeft(_ missing: UInt64, _ milliseconds: UInt32?) {
        let blocks = min(missing, geometry.blockCount)
        left = Left(
            blocks: blocks, bytes: blocks * UInt64(geometry.blockSize), seconds: milliseconds.map { Double($0) / 1000 })
    }

    private mutating func answer(_ message: Message, on channel: PostCopyChannel) throws -> [Action] {
        switch message {
        case .request(let request) where request.kind == .flush: return [.flush(id: request.id)]
        case .request(let request): return [try read(request)]
        case .postcopy(.rank): return [.rank]
        case .postcopy(.describe(let runs)): return [try describe(try blocks(runs))]
        case .postcopy(.need(let runs)): return [try send(try blocks(runs))]
        case .postcopy(.replaced(let runs)):
            try note(replaced: try blocks(runs), on: channel)
            return []
        case .postcopy(.verify):
            defer { (replaced[channel], replacedEnd[channel]) = (nil, nil) }
            return [.sendRoot(without: replaced[channel] ?? BlockSet(of: geometry.blockCount))]
        default: throw MigrationError.unexpected("a message out of turn")
        }
    }

    private func blocks(_ runs: [BlockRange]) throws -> [Range<UInt64>] {
        try runs.map { try $0.blocks(of: geometry) }
    }

    /// A read of a client of the destination, before the switchover.
    private func read(_ request: ForwardRequest) throws -> Action {
        guard request.kind == .read, request.length <= limits.readBytes, request.offset <= geometry.diskSize,
            request.length <= geometry.diskSize - request.offset
        else { throw MigrationError.unexpected("a malformed request") }
        return .read(id: request.id, offset: request.offset, length: Int(request.length))
    }

    private func describe(_ runs: [Range<UInt64>]) throws -> Action {
        guard !runs.isEmpty, count(runs) <= ManifestSegment.maximumBlocks else {
            throw MigrationError.unexpected("a long question")
        }
        return .describe(runs)
    }

    private func send(_ runs: [Range<UInt64>]) throws -> Action {
        guard count(runs) <= limits.neededBlocks else { throw MigrationError.unexpected("a long question") }
        return .send(runs.flatMap { Array($0) }, batch: max(1, limits.batchBytes / geometry.blockSize))
    }

    private func count(_ runs: [Range<UInt64>]) -> UInt64 {
        runs.reduce(0) { $0.addingClamped(UInt64($1.count)) }
    }

    private mutating func note(replaced runs: [Range<UInt64>], on channel: PostCopyChannel) throws {
        let blockCount = geometry.blockCount
        for run in runs {
            guard run.lowerBound >= replacedEnd[channel, default: 0] else {
                throw MigrationError.unexpected("replaced blocks out of order")
            }
            replaced[channel, default: BlockSet(of: blockCount)].insert(run)
            replacedEnd[channel] = run.upperBound
        }
    }

    // MARK: Bulk makes way for demand

    /// Whether bulk must wait, because somebody waits for a demand of this disk.
    package var mustBulkWait: Bool { demanded > 0 }

    /// Whether the state of the bulk connection's path is to be looked at before anything more is sent.
    package func isPathDue(at now: ContinuousClock.Instant) -> Bool { pace.isDue(at: now) }

    /// The path of the bulk connection is like this now.
    /// - Returns: the new pace; nil if nothing changes.
    package mutating func pathSeen(_ path: PathState, at now: ContinuousClock.Instant) -> BulkPace.Change? {
        // It is old by the time of another connection.
        defer { if isCommitted { pathCarries = 0 } }
        return pace.next(path, carried: pathCarries, sinceDemand: lastDemand?.duration(to: now), at: now)
    }
}
