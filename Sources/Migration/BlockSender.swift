import Block
import Index
import NIOConcurrencyHelpers
import NIOPosix
import Peer

/// Sends the bytes of blocks: reads them, notes what they are, compresses and sends, as hard as the link leaves time for.
/// One batch is made and one is sent at a time.
struct BlockSender: Sendable {
    /// What one batch came to.
    struct Batch: Sendable {
        var zeros: [BlockRange] = []
        var data: DataSegment?
        var zeroBytes: UInt64 = 0
        var dataBytes: UInt64 = 0
        /// The level of its data.
        var level: Int32
        /// What reading and hashing it took, and compressing it; and both, with what was done meanwhile for others.
        var reading = Duration.zero
        var compressing = Duration.zero
        var preparing = Duration.zero
    }

    private let reader: BlockReader
    private let compressor: StreamCompressor
    private let manifest: FingerprintFile?
    private let pace: NIOLockedValueBox<CompressionPace>
    private let use = NIOLockedValueBox(LinkUse())

    /// - Parameters:
    ///   - manifest: where it is noted what was sent; nil for nowhere.
    ///   - pace: that the level begins with.
    ///   - windowLog: how far back repeats are looked for, as a power of two.
    init(
        image: RawImage, geometry: BlockGeometry, manifest: FingerprintFile?,
        pace: CompressionPace, windowLog: Int32 = ZstdParameters.windowLog
    ) throws {
        reader = BlockReader(image: image, geometry: geometry, maximumBytes: DataSegment.maximumBytes)
        compressor = try StreamCompressor(level: pace.level, windowLog: windowLog)
        self.pace = NIOLockedValueBox(pace)
        self.manifest = manifest
    }

    /// Bytes a block.
    var blockSize: Int { reader.geometry.blockSize }

    /// Whether the link and the blocks have had time to show what they are, so that much may be prepared at this level.
    var hasBegun: Bool { pace.withLockedValue { $0.hasBegun } }

    /// Bytes that the link has lately carried a second; nil as long as that is not known.
    var bytesPerSecond: Double? { pace.withLockedValue { $0.carried } }

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
    /// - Returns: how long the link was waited for, and how long it had nothing to do because of it.
    func send(
        _ batch: Batch, idle: Duration, ahead: Double? = nil, path: PathState?, _ body: (Message) async throws -> Void
    ) async throws -> (waiting: Duration, idle: Duration) {
        let began = ContinuousClock.now
        let stretch = use.withLockedValue { $0.next(path, idle: idle, at: began) }
        for range in batch.zeros { try await body(.zeros(range)) }
        if let data = batch.data { try await body(.data(data)) }
        let ended = ContinuousClock.now
        use.withLockedValue { $0.sent(at: ended) }
        let sending = began.duration(to: ended)
        let waiting = stretch.wasFull ? sending + idle : sending
        note(batch, waiting: waiting, elapsed: sending + idle, ahead: ahead, stretch: stretch)
        return (waiting, sending + idle - waiting)
    }

    /// What came of a batch goes into the choice of the level for those that follow.
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
                CompressionPace.Batch(
                    bytes: batch.dataBytes, sent: UInt64(batch.data?.compressed.readableBytes ?? 0), level: batch.level,
                    reading: batch.reading.inSeconds, compressing: batch.compressing.inSeconds,
                    preparing: batch.preparing.inSeconds, waiting: waiting.inSeconds, elapsed: elapsed.inSeconds,
                    stretch: stretch, ahead: ahead))
        }
    }

    /// Reads and compresses ascending blocks, at most `batchLimit` of them; what comes of it must be sent in this order.
    func batch(_ blocks: ArraySlice<UInt64>, on pool: NIOThreadPool) async throws -> Batch {
        let began = ContinuousClock.now
        var batch = try await pool.runIfActive { try collect(blocks) }
        batch.preparing = began.duration(to: .now)
        return batch
    }

    private func collect(_ blocks: ArraySlice<UInt64>) throws -> Batch {
        precondition(blocks.count <= batchLimit)
        var batch = Batch(level: pace.withLockedValue { $0.level })
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
            batch.data = DataSegment(
                runs: runs, compressed: try compressor.compress(reader.bytes(Int(batch.dataBytes)), level: batch.level))
            batch.reading = began.duration(to: read)
            batch.compressing = read.duration(to: .now)
        }
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
