import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import Peer

/// Packs a memory stream, compresses it, and sends it, as fast as `MemoryWindow` lets it.
///
/// `@unchecked Sendable`: one task uses it, and one job of a pool at a time for that task.
final class MemorySender: @unchecked Sendable {
    /// The destination's terms.
    struct Terms: Sendable {
        /// Pages that it keeps.
        let history: Int
        /// Whether it can read each disk.
        let readable: [Bool]
    }

    /// The time for which the rest of a page may come before it goes as bytes.
    private static let partialLimit = Duration.milliseconds(10)
    /// Wrong references after which blocks are not referred to any more: each costs a round trip.
    private static let mostRepairs = 16

    private let stream: MemorySourceStream
    private let terms: Terms
    private let connection: PeerConnection
    private let packer: MemoryPacker
    private let compressor: StreamCompressor
    private var pace: CompressionPace
    /// Bytes of the hypervisor that no batch has described.
    private var pending = ByteBuffer()
    private var stage = MemoryStage.preCopy

    init(stream: MemorySourceStream, terms: Terms, connection: PeerConnection) throws {
        self.stream = stream
        self.terms = terms
        self.connection = connection
        packer = MemoryPacker(
            parser: stream.context.parser(), history: min(terms.history, MemoryStreamParameters.history))
        pace = CompressionPace(bitsPerSecond: stream.context.rate.bitsPerSecond)
        compressor = try StreamCompressor(level: pace.level, windowLog: MemoryStreamParameters.windowLog)
    }

    /// Sends everything that the hypervisor says, until it has ended its direction.
    /// - Throws: `PeerError.cut`; `CancellationError`.
    func run() async throws {
        var waited = Duration.zero
        while true {
            let isOver = stream.inbox.isEnded && pending.readableBytes == 0
            if isOver { return try await end() }
            let came = try await stream.inbox.wait(atMost: pending.readableBytes > 0 ? Self.partialLimit : nil)
            waited += try await waitForRoom()
            stream.inbox.move(to: &pending, limit: stage.batchBytes)
            let isWaiting = !came || stream.inbox.isEnded
            if try await sendBatch(isWaiting: isWaiting, waited: waited) { waited = .zero }
        }
    }

    /// Waits until more may be under way.
    /// - Returns: the time that it took.
    private func waitForRoom() async throws -> Duration {
        let began = ContinuousClock.now
        var room = stream.room.stream.makeAsyncIterator()
        while true {
            let path = await connection.path()?.limited(to: stream.context.rate.bitsPerSecond)
            if stream.state.withLockedValue({ $0.machine.window.mayTake(over: path, at: stage) }) { break }
            guard await room.next() != nil else { throw PeerError.cut }
        }
        return began.duration(to: .now)
    }

    /// Packs and sends what is pending.
    /// - Returns: false if it is too little for a batch.
    private func sendBatch(isWaiting: Bool, waited: Duration) async throws -> Bool {
        let began = ContinuousClock.now
        guard let (packed, batch, work) = try await pack(isWaiting: isWaiting) else { return false }
        let frame = Message.memory(.batch(batch)).encoded()
        enter(packer.stage)
        keep(packed.consumed, onLink: frame.readableBytes)
        let prepared = ContinuousClock.now
        try await stream.context.rate.wait(for: frame.readableBytes, isAhead: stage != .preCopy) { connection.isOpen }
        try await connection.send(frame)
        note(
            packed, batch, work, waiting: waited + prepared.duration(to: .now),
            elapsed: began.duration(to: .now) + waited)
        return true
    }

    private func pack(
        isWaiting: Bool
    ) async throws -> (MemoryPacker.Packed, MemoryBatch, CompressionPace.Work)? {
        let level = pace.level
        let mayRefer = stream.state.withLockedValue { $0.repairs } < Self.mostRepairs
        let finder = stream.context.finder
        return try await stream.context.pools.urgent.runIfActive { [self] in
            let began = ContinuousClock.now
            let readable = mayRefer ? terms.readable : terms.readable.map { _ in false }
            let packed = pending.withUnsafeReadableBytes { bytes in
                packer.pack(bytes, isWaiting: isWaiting) { finder.find($0, readable: readable) }
            }
            guard packed.consumed > 0 else { return nil }
            let read = ContinuousClock.now
            let compressed = try packed.bytes.withUnsafeBytes { try compressor.compress($0, level: level) }
            let batch = MemoryBatch(
                tokenBytes: packed.tokenBytes, literalBytes: packed.literalBytes, proof: packed.proof,
                compressed: compressed)
            let ended = ContinuousClock.now
            let work = CompressionPace.Work(
                bytes: UInt64(packed.bytes.count), reading: began.duration(to: read).inSeconds,
                compressing: read.duration(to: ended).inSeconds, elapsed: began.duration(to: ended).inSeconds)
            return (packed, batch, work)
        }
    }

    /// Holds less back from now on if a guest waits for it.
    private func enter(_ stage: MemoryStage) {
        guard stage != self.stage else { return }
        self.stage = stage
        stream.enter(stage)
    }

    /// Keeps the bytes of a batch for a repair.
    private func keep(_ count: Int, onLink: Int) {
        let bytes = pending.readSlice(length: count)!
        // Later bytes would otherwise be copied together with those that are kept.
        var rest = ByteBuffer()
        rest.writeImmutableBuffer(pending)
        pending = rest
        stream.state.withLockedValue { state in
            state.machine.send(stream: UInt64(count), onLink: UInt64(onLink))
            state.kept.append(bytes)
            state.tally = packer.tally
            state.problem = packer.problem
        }
    }

    private func note(
        _ packed: MemoryPacker.Packed, _ batch: MemoryBatch, _ work: CompressionPace.Work, waiting: Duration,
        elapsed: Duration
    ) {
        let sent = UInt64(batch.compressed.readableBytes)
        pace.note(
            prepared: CompressionPace.Batch(
                bytes: UInt64(packed.bytes.count), sent: sent, level: pace.level, work: work))
        pace.note(
            sent: CompressionPace.Sending(
                bytes: UInt64(packed.bytes.count), sent: sent, waiting: waiting.inSeconds, elapsed: elapsed.inSeconds))
    }

    private func end() async throws {
        let total = packer.tally.stream
        stream.state.withLockedValue { $0.machine.end() }
        let message = MemoryMessage.end(byteCount: total, digest: DiskRoot(packer.digest))
        try await connection.send(Message.memory(message).encoded())
    }
}
