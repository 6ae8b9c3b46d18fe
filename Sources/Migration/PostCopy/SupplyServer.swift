import Block
import BlockModel
import Hashing
import Index
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer

/// Answers one connection's questions about an image: what its blocks are, and their bytes. One question at a time.
struct SupplyServer {
    /// Blocks that one message may ask for.
    private static let maximumBlocks: UInt64 = 1 << 16
    /// Bytes of blocks in one message: what somebody waits for comes behind one that is on its way.
    private static let batchBytes = 128 << 10
    /// Bytes of blocks that are read in one go, to be described.
    private static let readBytes = 1 << 20
    private static let maximumRead: UInt64 = UInt64(PeerConnection.maximumFrame - 1024)

    let connection: PeerConnection
    let image: RawImage
    let geometry: BlockGeometry
    let pool: NIOThreadPool
    let sender: BlockSender
    let scratch: String
    let reads: ReadCounts?
    /// What has been agreed on at the hand-over; nil where that is not known any more.
    let agreed: @Sendable () -> SuppliedRoot.Agreed?
    let beforeSending: @Sendable (Message, Int) async throws -> Void
    private var replaced: BlockSet
    /// Where the last of them ends.
    private var replacedEnd: UInt64 = 0

    init(
        connection: PeerConnection, image: RawImage, geometry: BlockGeometry, pool: NIOThreadPool,
        sender: BlockSender, scratch: String, reads: ReadCounts?,
        agreed: @escaping @Sendable () -> SuppliedRoot.Agreed?,
        beforeSending: @escaping @Sendable (Message, Int) async throws -> Void
    ) {
        self.connection = connection
        self.image = image
        self.geometry = geometry
        self.pool = pool
        self.sender = sender
        self.scratch = scratch
        self.reads = reads
        self.agreed = agreed
        self.beforeSending = beforeSending
        replaced = BlockSet(of: geometry.blockCount)
    }

    /// Answers a message of the destination.
    /// - Throws: `MigrationError.unexpected` where it can't stand here; where the link is down.
    mutating func answer(_ message: Message) async throws {
        switch message {
        case .request(let request) where request.kind == .flush: try await flush(request)
        case .request(let request): try await read(request)
        case .postcopy(.rank): try await rank()
        case .postcopy(.describe(let runs)): try await describe(try runs.map(check))
        case .postcopy(.need(let runs)): try await send(try runs.map(check))
        case .postcopy(.replaced(let runs)):
            for run in try runs.map(check) {
                guard run.lowerBound >= replacedEnd else {
                    throw MigrationError.unexpected("replaced blocks out of order")
                }
                replaced.insert(run)
                replacedEnd = run.upperBound
            }
        case .postcopy(.verify):
            let root = try await root(without: replaced)
            replaced = BlockSet(of: geometry.blockCount)
            replacedEnd = 0
            try await connection.send(Message.postcopy(.verified(root)).encoded())
        default: throw MigrationError.unexpected("a message out of turn")
        }
    }

    private func rank() async throws {
        let most = try await pool.runIfActive { [reads, geometry] in
            (reads?.mostRead(limit: PostcopyMessage.maximumRanked) ?? []).map {
                BlockRange(geometry.blocks(touching: $0))
            }
        }
        try await send(.postcopy(.mostRead(most)))
    }

    /// The root of the image without some blocks, which need not be readable.
    private func root(without blocks: BlockSet) async throws -> DiskRoot {
        let supplied = SuppliedRoot(image: image, geometry: geometry, pool: pool) { [connection] in connection.isOpen }
        let agreed = try agreed() ?? SuppliedRoot.Agreed(forgotten: geometry, scratch: scratch)
        return try await supplied.root(without: blocks, agreed: agreed)
    }

    /// A flush of a client of the destination that has written here before it went there.
    private func flush(_ request: ForwardRequest) async throws {
        let error = try await pool.runIfActive { [image] in FileError.outcome { try image.synchronize() } }
        try await connection.send(
            Message.answer(ForwardAnswer(id: request.id, error: error, payload: ByteBuffer())).encoded())
    }

    /// A read of a client of the destination, before the disk is there.
    private func read(_ request: ForwardRequest) async throws {
        guard request.kind == .read, request.length <= Self.maximumRead, request.offset <= geometry.size,
            request.length <= geometry.size - request.offset
        else { throw MigrationError.unexpected("a malformed request") }
        let (payload, error) = try await pool.runIfActive { [image] in
            var payload = ByteBuffer()
            var failure: CInt = 0
            payload.writeWithUnsafeMutableBytes(minimumWritableBytes: Int(request.length)) { room in
                failure = FileError.outcome {
                    try image.read(
                        into: UnsafeMutableRawBufferPointer(rebasing: room[..<Int(request.length)]), at: request.offset)
                }
                return failure == 0 ? Int(request.length) : 0
            }
            return (payload, failure)
        }
        try await connection.send(
            Message.answer(ForwardAnswer(id: request.id, error: error, payload: payload)).encoded())
    }

    private func describe(_ runs: [Range<UInt64>]) async throws {
        guard let first = runs.first?.lowerBound,
            runs.reduce(0 as UInt64, { $0.addingClamped(UInt64($1.count)) }) <= ManifestSegment.maximumBlocks
        else { throw MigrationError.unexpected("a long question") }
        let fingerprints = try await pool.runIfActive { [image, geometry] in
            let reader = BlockReader(
                image: image, geometry: geometry, maximumBytes: max(Self.readBytes, geometry.blockSize))
            // Those that can't be read will be asked for, and each be said to be unreadable, or not.
            let nothing = Fingerprint(high: .max, low: .max)
            return try runs.flatMap { try reader.fingerprints(of: $0, unreadable: nothing) }
        }
        try await send(.postcopy(.description(BlockDescription(first: first, fingerprints: fingerprints))))
    }

    private func send(_ runs: [Range<UInt64>]) async throws {
        guard runs.reduce(0 as UInt64, { $0.addingClamped(UInt64($1.count)) }) <= Self.maximumBlocks else {
            throw MigrationError.unexpected("a long question")
        }
        let blocks = runs.flatMap { Array($0) }
        let limit = max(1, Self.batchBytes / geometry.blockSize)
        for start in stride(from: 0, to: blocks.count, by: limit) {
            try await send(blocks[start..<min(blocks.count, start + limit)])
        }
    }

    private func send(_ blocks: ArraySlice<UInt64>) async throws {
        let batch: BlockSender.Batch
        do {
            batch = try await sender.batch(blocks, on: pool)
        } catch let error as FileError {
            // One by one, so that what can be read gets there.
            guard blocks.count == 1 else {
                for block in blocks { try await send([block]) }
                return
            }
            let message = PostcopyMessage.unreadable(
                BlockRange(blocks[blocks.startIndex]..<blocks[blocks.startIndex] + 1), error: error.code)
            return try await connection.send(Message.postcopy(message).encoded())
        }
        for range in batch.zeros { try await connection.send(Message.zeros(range).encoded()) }
        guard let data = batch.data else { return }
        try await send(.data(data))
    }

    private func send(_ message: Message) async throws {
        let frame = message.encoded()
        try await beforeSending(message, frame.readableBytes)
        try await connection.send(frame)
    }

    private func check(_ range: BlockRange) throws -> Range<UInt64> {
        guard range.count > 0, let blocks = range.range,
            blocks.upperBound <= geometry.blockCount
        else { throw MigrationError.unexpected("blocks beyond the end of the disk") }
        return blocks
    }
}
