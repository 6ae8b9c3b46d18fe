import Block
import BlockModel
import Hashing
import Index
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOPosix
import Peer
import PeerModel

/// Sends the bytes of blocks: reads them, notes what they are, compresses and sends, as hard as the link leaves time for.
/// One batch is made and one is sent at a time.
struct BlockSender: Sendable {
    /// What one batch came to.
    struct Batch: Sendable {
        var zeros: [BlockRange] = []
        var data: DataSegment?
        var zeroBytes: UInt64 = 0
        var dataBytes: UInt64 = 0
        /// Bytes of blocks, of this batch and of those before, that come with a later one.
        var lateBytes: UInt64 = 0
        /// The level of its data.
        var level: Int32
        /// What it was waited for, and what was worked on it; where others compress, on what they were at meanwhile.
        var preparing = Duration.zero
        var work = CompressionPace.Work()

        /// What its data came to.
        var compressedBytes: UInt64 { UInt64(data?.compressed.readableBytes ?? 0) }
    }

    /// Of the stream in one message, where more comes late: what else is to be said does not wait for long behind one.
    private static let pieceBytes = 256 << 10
    /// A higher one takes up to 150 ms to begin with a stream, which is more than it saves where a guest waits.
    private static let highestUrgentLevel: Int32 = 3

    private let reader: BlockReader
    private let stream: DataStream
    private let manifest: FingerprintFile?
    private let pace: NIOLockedValueBox<CompressionPace>
    private let use = NIOLockedValueBox(LinkUse())

    /// - Parameters:
    ///   - manifest: where it is noted what was sent; nil for nowhere.
    ///   - pace: that the level begins with.
    ///   - windowLog: how far back repeats are looked for, as a power of two.
    ///   - workers: threads that compress what is not urgent; 0 for none, and each piece holds its blocks.
    init(
        image: RawImage, geometry: BlockGeometry, manifest: FingerprintFile?,
        pace: CompressionPace, windowLog: Int32 = ZstdParameters.windowLog, workers: Int = 0
    ) throws {
        reader = BlockReader(image: image, geometry: geometry, maximumBytes: DataSegment.maximumBytes)
        // A link that begins at the highest level leaves one thread time enough, whose level can fall within less that is begun.
        let workers = pace.isHighest ? 0 : workers
        stream = try DataStream(level: pace.level, windowLog: windowLog, workers: workers)
        self.pace = NIOLockedValueBox(pace)
        self.manifest = manifest
    }

    /// Bytes a block.
    var blockSize: Int { reader.geometry.blockSize }

    /// Whether much may be prepared ahead: at the level that link and blocks are known to leave time for.
    var isSettled: Bool { pace.withLockedValue { $0.isSettled } }

    /// Bytes that the link has lately carried a second; nil as long as that is not known.
    var bytesPerSecond: Double? { pace.withLockedValue { $0.carried } }

    /// Of the time, for how much the link may have nothing to do before blocks are compressed with less effort; 1 where they
    /// can't be.
    var toleratedIdle: Double { pace.withLockedValue { $0.toleratedIdle } }

    /// Blocks of one batch.
    var batchLimit: Int { DataSegment.maximumBytes / blockSize }

    /// Ascending blocks, in as many batches as they take.
    func batches(of blocks: [UInt64]) -> [ArraySlice<UInt64>] {
        stride(from: 0, to: blocks.count, by: batchLimit).map { blocks[$0..<min(blocks.count, $0 + batchLimit)] }
    }

    /// Sends a batch, and chooses the level of those that follow.
    /// - Parameters:
    ///   - idle: how long there was nothing to send because of it.
    ///   - ahead: how much of what may wait behind it does; nil where nothing may.
    ///   - path: what TCP knows of it now; nil where it does not say.
    ///   - body: sends a message of it.
    /// - Returns: how long the link was waited for, how long it had nothing to do because of it, and what it was seen to carry.
    func send(
        _ batch: Batch, idle: Duration, ahead: Double? = nil, path: PathState?, _ body: (Message) async throws -> Void
    ) async throws -> (waiting: Duration, idle: Duration, stretch: LinkUse.Stretch) {
        let began = ContinuousClock.now
        let stretch = use.withLockedValue { $0.next(path, idle: idle, at: began) }
        for range in batch.zeros { try await body(.zeros(range)) }
        for segment in batch.data?.messages(of: stream.isLate ? Self.pieceBytes : .max) ?? [] {
            try await body(.data(segment))
        }
        let ended = ContinuousClock.now
        use.withLockedValue { $0.sent(at: ended) }
        let sending = began.duration(to: ended)
        let waiting = stretch.wasFull ? sending + idle : sending
        note(batch, waiting: waiting, elapsed: sending + idle, ahead: ahead, stretch: stretch)
        return (waiting, sending + idle - waiting, stretch)
    }

    /// What the link had to do with a batch goes into the choice of the level for those that follow.
    /// - Parameters:
    ///   - waiting: how long the link had something to do.
    ///   - elapsed: that, and how long the link had nothing to do before.
    ///   - ahead: how much of what may wait behind it does; nil where nothing may.
    ///   - stretch: what the link was seen to carry.
    func note(
        _ batch: Batch, waiting: Duration, elapsed: Duration, ahead: Double? = nil, stretch: LinkUse.Stretch = .init()
    ) {
        pace.withLockedValue {
            $0.note(
                sent: CompressionPace.Sending(
                    bytes: batch.dataBytes, sent: batch.compressedBytes, waiting: waiting.inSeconds,
                    elapsed: elapsed.inSeconds, stretch: stretch, ahead: ahead))
        }
    }

    /// Reads and compresses ascending blocks, at most `batchLimit` of them; what comes of it must be sent in this order.
    /// - Parameter isUrgent: somebody waits for them.
    func batch(_ blocks: ArraySlice<UInt64>, on pool: NIOThreadPool, isUrgent: Bool = false) async throws -> Batch {
        let began = ContinuousClock.now
        var batch = try await pool.runIfActive { try collect(blocks, isUrgent: isUrgent) }
        batch.preparing = began.duration(to: .now)
        if !stream.isLate { batch.work.elapsed = batch.preparing.inSeconds }
        notePrepared(batch)
        return batch
    }

    /// What is still being compressed of batches before; it must be sent behind them. Nil where there is nothing.
    func rest(on pool: NIOThreadPool) async throws -> Batch? {
        guard stream.isLate else { return nil }
        let began = ContinuousClock.now
        var batch = Batch(level: pace.withLockedValue { $0.level })
        let piece = try await pool.runIfActive { try stream.flush() }
        guard piece.readableBytes > 0 else { return nil }
        batch.data = DataSegment(runs: [], compressed: piece)
        batch.preparing = began.duration(to: .now)
        notePrepared(batch)
        return batch
    }

    private func notePrepared(_ batch: Batch) {
        pace.withLockedValue {
            $0.note(
                prepared: CompressionPace.Batch(
                    bytes: batch.dataBytes, sent: batch.compressedBytes, level: batch.level, work: batch.work))
        }
    }

    private func collect(_ blocks: ArraySlice<UInt64>, isUrgent: Bool) throws -> Batch {
        precondition(blocks.count <= batchLimit)
        let level = pace.withLockedValue { $0.level }
        var batch = Batch(level: isUrgent ? min(level, Self.highestUrgentLevel) : level)
        var runs: [BlockRange] = []
        var filled = 0
        let began = ContinuousClock.now
        for run in Self.runs(of: blocks) {
            try reader.read(run, at: filled)
            try take(run, &batch, &runs, &filled)
        }
        if filled > 0 {
            batch.dataBytes = runs.reduce(0) {
                $0 + reader.geometry.byteCount(of: $1.first..<$1.first + $1.count)
            }
            let read = ContinuousClock.now
            let bytes = reader.bytes(Int(batch.dataBytes))
            batch.data = DataSegment(
                runs: runs, compressed: try stream.compress(bytes, level: batch.level, isUrgent: isUrgent))
            batch.work =
                stream.takeWork()
                ?? CompressionPace.Work(
                    bytes: batch.dataBytes, reading: began.duration(to: read).inSeconds,
                    compressing: read.duration(to: .now).inSeconds)
        }
        batch.lateBytes = stream.lateBytes
        return batch
    }

    /// Sorts the blocks of a run, just read to `filled`, into zeros and data, and closes the gaps that zeros leave.
    private func take(
        _ run: Range<UInt64>, _ batch: inout Batch, _ runs: inout [BlockRange], _ filled: inout Int
    ) throws {
        var fingerprints: [Fingerprint] = []
        var source = filled
        for block in run {
            let fingerprint = reader.fingerprint(at: source)
            fingerprints.append(fingerprint)
            if fingerprint == .zero {
                Self.append(block, to: &batch.zeros)
                batch.zeroBytes += reader.geometry.byteCount(of: block..<block + 1)
            } else {
                reader.move(from: source, to: filled, count: blockSize)
                Self.append(block, to: &runs)
                filled += blockSize
            }
            source += blockSize
        }
        try manifest?.set(fingerprints[...], from: run.lowerBound)
    }

    private static func append(_ block: UInt64, to runs: inout [BlockRange]) {
        if let last = runs.indices.last, runs[last].first + runs[last].count == block {
            runs[last].count += 1
        } else {
            runs.append(BlockRange(first: block, count: 1))
        }
    }

    private static func runs(of blocks: ArraySlice<UInt64>) -> [Range<UInt64>] {
        var runs: [Range<UInt64>] = []
        for block in blocks {
            if let last = runs.last, last.upperBound == block {
                runs[runs.count - 1] = last.lowerBound..<block + 1
            } else {
                runs.append(block..<block + 1)
            }
        }
        return runs
    }
}
