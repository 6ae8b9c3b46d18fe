import Block
import BlockModel
import Hashing
import Index
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Peer
import PeerModel

/// Sends the bytes of blocks: reads them, records their fingerprints, compresses and sends. The effort spent on compression
/// follows the link's rate. One batch is made and one is sent at a time.
struct BlockSender: Sendable {
    /// The cost and the messages of one batch.
    struct Batch: Sendable {
        var zeros: [BlockRange] = []
        var data: DataSegment?
        var zeroBytes: UInt64 = 0
        var dataBytes: UInt64 = 0
        /// Bytes of blocks of this batch and of earlier ones that come with a later batch.
        var lateBytes: UInt64 = 0
        /// The zstd level of its data.
        var level: Int32
        /// Other data goes between its pieces, as its blocks come late anyway.
        var isLate = false
        /// `preparing`: wall time. `work`: CPU time; with worker threads, of the blocks they finished meanwhile.
        var preparing = Duration.zero
        var work = CompressionPace.Work()

        /// The bytes of its data before and after compression.
        var compressedBytes: UInt64 { UInt64(data?.compressed.readableBytes ?? 0) }
    }

    /// The blocks of a batch, as they were found.
    private struct Sorted {
        var zeros: [Range<UInt64>] = []
        var data: [Range<UInt64>] = []
        /// Bytes of the buffer that hold data, whole blocks.
        var filled = 0
    }

    /// Bytes of the stream in one message if threads compress: other messages must not wait for long behind one.
    private static let pieceBytes = 256 << 10
    /// The highest level for urgent blocks. A higher one needs up to 150 ms to begin a stream, more than it saves a waiting
    /// guest.
    private static let highestUrgentLevel: Int32 = 3

    private let reader: BlockReader
    private let stream: DataStream
    private let manifest: FingerprintFile?
    private let pace: NIOLockedValueBox<CompressionPace>
    private let use = NIOLockedValueBox(LinkUse())
    /// A prefix that the next batch begins with; nil for none.
    private let prefix = NIOLockedValueBox(StreamPrefix?.none)

    /// - Parameters:
    ///   - manifest: records the fingerprints of sent blocks; nil to record nothing.
    ///   - pace: chooses the level.
    ///   - windowLog: the distance within which repeats are found, as a power of two.
    ///   - workers: threads that compress blocks that are not urgent; 0 for none, and then each piece holds its blocks.
    init(
        image: any DiskImage, geometry: BlockGeometry, manifest: FingerprintFile?,
        pace: CompressionPace, windowLog: Int32 = ZstdParameters.windowLog, workers: Int = 0
    ) throws {
        reader = BlockReader(image: image, geometry: geometry, maximumBytes: DataSegment.maximumBytes)
        stream = try DataStream(level: pace.level, windowLog: windowLog, workers: workers)
        self.pace = NIOLockedValueBox(pace)
        self.manifest = manifest
    }

    /// Bytes a block.
    var blockSize: Int { reader.geometry.blockSize }

    /// Whether much may be prepared ahead: the level suits the link and the blocks already.
    var isSettled: Bool { pace.withLockedValue { $0.isSettled } }

    /// The link's recent rate, bytes/s; nil as long as that is not known.
    var bytesPerSecond: Double? { pace.withLockedValue { $0.carried } }

    /// The share of time, 0 to 1, for which the link may be idle before blocks are compressed with less effort. 1 if
    /// less effort is impossible.
    var toleratedIdle: Double { pace.withLockedValue { $0.toleratedIdle } }

    /// The most blocks of one batch.
    var batchLimit: Int { DataSegment.maximumBytes / blockSize }

    /// Lets later batches refer to `prefix`. The destination has it already.
    func use(_ prefix: StreamPrefix) {
        self.prefix.withLockedValue { $0 = prefix }
        pace.withLockedValue { $0.stay(atLeast: ZstdParameters.lowestPrefixLevel) }
    }

    /// Splits ascending blocks into batches.
    func batches(of blocks: [UInt64]) -> [ArraySlice<UInt64>] {
        stride(from: 0, to: blocks.count, by: batchLimit).map { blocks[$0..<min(blocks.count, $0 + batchLimit)] }
    }

    /// Sends a batch, and chooses the level of those that follow.
    /// - Parameters:
    ///   - idle: the time during which the link had nothing to send because of it.
    ///   - ahead: the share, 0 to 1, of the room behind it that is in use; nil if nothing may wait there.
    ///   - path: the state of the TCP connection; nil if the kernel does not tell.
    ///   - body: sends a message of it.
    /// - Returns: the time spent waiting for the link, the link's idle time because of the batch, and the rate that was seen.
    func send(
        _ batch: Batch, idle: Duration, ahead: Double? = nil, path: PathState?, _ body: (Message) async throws -> Void
    ) async throws -> (waiting: Duration, idle: Duration, stretch: LinkUse.Stretch) {
        let began = ContinuousClock.now
        let stretch = use.withLockedValue { $0.next(path, idle: idle, at: began) }
        for range in batch.zeros { try await body(.zeros(range)) }
        for segment in batch.data?.messages(of: batch.isLate ? Self.pieceBytes : .max) ?? [] {
            try await body(.data(segment))
        }
        let ended = ContinuousClock.now
        use.withLockedValue { $0.sent(at: ended) }
        let sending = began.duration(to: ended)
        let waiting = stretch.wasFull ? sending + idle : sending
        adaptLevel(after: batch, waiting: waiting, elapsed: sending + idle, ahead: ahead, stretch: stretch)
        return (waiting, sending + idle - waiting, stretch)
    }

    /// Chooses the level of later batches from the link's use during this one.
    /// - Parameters:
    ///   - waiting: the time during which the link was busy.
    ///   - elapsed: `waiting` and the idle time before it.
    ///   - ahead: the share, 0 to 1, of the room behind it that is in use; nil if nothing may wait there.
    ///   - stretch: the bytes that the link was seen to carry, and in which time.
    func adaptLevel(
        after batch: Batch, waiting: Duration, elapsed: Duration, ahead: Double? = nil,
        stretch: LinkUse.Stretch = .init()
    ) {
        pace.withLockedValue {
            $0.note(
                sent: CompressionPace.Sending(
                    bytes: batch.dataBytes, sent: batch.compressedBytes, waiting: waiting.inSeconds,
                    elapsed: elapsed.inSeconds, stretch: stretch, ahead: ahead))
        }
    }

    /// Reads and compresses ascending blocks, at most `batchLimit` of them. Batches must be sent in the order of these calls.
    /// - Parameter isUrgent: a client waits for them.
    func batch(_ blocks: ArraySlice<UInt64>, on pool: NIOThreadPool, isUrgent: Bool = false) async throws -> Batch {
        let began = ContinuousClock.now
        var batch = try await pool.runIfActive { try collect(blocks, isUrgent: isUrgent) }
        batch.preparing = began.duration(to: .now)
        if !batch.isLate { batch.work.elapsed = batch.preparing.inSeconds }
        recordPrepared(batch)
        return batch
    }

    /// The rest of earlier batches that is still being compressed, to be sent behind them; nil if there is nothing.
    func rest(on pool: NIOThreadPool) async throws -> Batch? {
        let began = ContinuousClock.now
        var batch = Batch(level: pace.withLockedValue { $0.level }, isLate: true)
        let piece = try await pool.runIfActive { stream.isLate ? try stream.flush() : ByteBuffer() }
        guard piece.readableBytes > 0 else { return nil }
        batch.data = DataSegment(runs: [], compressed: piece)
        batch.preparing = began.duration(to: .now)
        recordPrepared(batch)
        return batch
    }

    private func recordPrepared(_ batch: Batch) {
        pace.withLockedValue {
            $0.note(
                prepared: CompressionPace.Batch(
                    bytes: batch.dataBytes, sent: batch.compressedBytes, level: batch.level, work: batch.work))
        }
    }

    private func collect(_ blocks: ArraySlice<UInt64>, isUrgent: Bool) throws -> Batch {
        precondition(blocks.count <= batchLimit)
        if let prefix = prefix.withLockedValue({ $0.take() }) { stream.use(prefix) }
        let (level, inParallel) = pace.withLockedValue { ($0.level, $0.usesThreads) }
        var batch = Batch(level: isUrgent ? min(level, Self.highestUrgentLevel) : level)
        var sorted = Sorted()
        let began = ContinuousClock.now
        var runs: [Range<UInt64>] = []
        for block in blocks { runs.append(joining: block) }
        for run in runs {
            try reader.read(run, at: sorted.filled)
            try sort(run, into: &sorted)
        }
        batch.zeros = sorted.zeros.map { BlockRange($0) }
        batch.zeroBytes = byteCount(of: sorted.zeros)
        if sorted.filled > 0 {
            batch.dataBytes = byteCount(of: sorted.data)
            let read = ContinuousClock.now
            let bytes = reader.bytes(Int(batch.dataBytes))
            batch.data = DataSegment(
                runs: sorted.data.map { BlockRange($0) },
                compressed: try stream.compress(
                    bytes, level: batch.level, isUrgent: isUrgent, inParallel: inParallel))
            batch.work =
                stream.consumeWork()
                ?? CompressionPace.Work(
                    bytes: batch.dataBytes, reading: began.duration(to: read).inSeconds,
                    compressing: read.duration(to: .now).inSeconds)
        }
        batch.lateBytes = stream.lateBytes
        batch.isLate = stream.isLate
        return batch
    }

    private func byteCount(of runs: [Range<UInt64>]) -> UInt64 {
        runs.reduce(0) { $0 + reader.geometry.byteCount(of: $1) }
    }

    /// Sorts the blocks of a run, just read to `filled`, into zeros and data, and closes the gaps that zeros leave.
    private func sort(_ run: Range<UInt64>, into sorted: inout Sorted) throws {
        var fingerprints: [Fingerprint] = []
        var source = sorted.filled
        for block in run {
            let fingerprint = reader.fingerprint(at: source)
            fingerprints.append(fingerprint)
            if fingerprint == .zero {
                sorted.zeros.append(joining: block)
            } else {
                reader.move(from: source, to: sorted.filled, count: blockSize)
                sorted.data.append(joining: block)
                sorted.filled += blockSize
            }
            source += blockSize
        }
        try manifest?.set(fingerprints[...], from: run.lowerBound)
    }
}
