import Block
import BlockModel
import Hashing
import Index
import MigrationCore
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer

/// Answers one connection's questions about an image, as `PostCopySourceMachine` has judged them: what its blocks are, and
/// their bytes. One question at a time.
struct PostCopyBlockServer {
    /// Bytes of blocks that are read in one go, to be described.
    private static let readBytes = 1 << 20
    /// The longest time for which the destination's background fill waits for the free blocks.
    private static let freeLimit = Duration.seconds(3)

    let connection: PeerConnection
    let image: any DiskImage
    let geometry: BlockGeometry
    let pool: NIOThreadPool
    let sender: BlockSender
    /// A folder for temporary files.
    let scratch: String
    /// Counts of the clients' reads; nil if they were not kept.
    let reads: ReadCounts?
    /// The blocks that are best brought last; nil if the destination can't be told.
    let free: FreeBlocks?
    /// Gives the state on which both sides agreed at the switchover; nil if that is not known any more.
    let agreed: @Sendable () -> SourceRootHash.Agreed?
    /// Waits until an answer that may be large may be sent; given the bytes of its frame.
    let beforeSending: @Sendable (Message, Int) async throws -> Void

    /// Performs an action that answers the destination.
    /// - Throws: `FileError`; if the link is down.
    func answer(_ action: PostCopySourceMachine.Action) async throws {
        switch action {
        case .flush(let id): try await flush(id)
        case .read(let id, let offset, let length): try await read(id, offset: offset, length: length)
        case .rank: try await rank()
        case .describe(let runs): try await describe(runs)
        case .send(let blocks, let batch): try await send(blocks, batch: batch)
        case .sendRoot(let replaced):
            try await connection.send(Message.postcopy(.verified(try await root(without: replaced))).encoded())
        case .recordRelease, .sayReleased, .reportRelease: preconditionFailure("not an answer")
        }
    }

    private func rank() async throws {
        let most = try await pool.runIfActive { [reads, geometry] in
            (reads?.mostRead(limit: PostcopyMessage.maximumRanked) ?? []).map {
                BlockRange(geometry.blocks(touchingDisk: $0))
            }
        }
        try await nameFree()
        try await send(.postcopy(.mostRead(most)))
    }

    private func nameFree() async throws {
        guard let free else { return }
        await free.wait(atMost: Self.freeLimit) { [connection] in !connection.isOpen }
        let longest = try await pool.runIfActive { free.blocks.longestRuns(limit: PostcopyMessage.maximumFree) }
        if !longest.isEmpty { try await send(.postcopy(.free(longest.map { BlockRange($0) }))) }
    }

    private func root(without blocks: BlockSet) async throws -> DiskRoot {
        let supplied = SourceRootHash(image: image, geometry: geometry, pool: pool) { [connection] in connection.isOpen
        }
        let agreed = try agreed() ?? SourceRootHash.Agreed(forgotten: geometry, scratch: scratch)
        return try await supplied.root(without: blocks, agreed: agreed)
    }

    /// Answers a client of the destination that has written at this node before it went there.
    private func flush(_ id: UInt64) async throws {
        let error = try await pool.runIfActive { [image] in FileError.outcome { try image.synchronize() } }
        try await connection.send(
            Message.answer(ForwardAnswer(id: id, error: error, payload: ByteBuffer())).encoded())
    }

    /// Answers a client of the destination, before the disk is there.
    private func read(_ id: UInt64, offset: UInt64, length: Int) async throws {
        let (payload, error) = try await pool.runIfActive { [image] in
            var payload = ByteBuffer()
            var failure: CInt = 0
            payload.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { room in
                failure = FileError.outcome {
                    try image.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<length]), at: offset)
                }
                return failure == 0 ? length : 0
            }
            return (payload, failure)
        }
        try await connection.send(
            Message.answer(ForwardAnswer(id: id, error: error, payload: payload)).encoded())
    }

    private func describe(_ runs: [Range<UInt64>]) async throws {
        let fingerprints = try await pool.runIfActive { [image, geometry] in
            let reader = BlockReader(
                image: image, geometry: geometry, maximumBytes: max(Self.readBytes, geometry.blockSize))
            // The destination will ask for blocks that can't be read now, and hears of each whether it can be read then.
            return try runs.flatMap { try reader.fingerprints(of: $0, unreadable: .unknown) }
        }
        try await send(
            .postcopy(.description(BlockDescription(first: runs[0].lowerBound, fingerprints: fingerprints))))
    }

    private func send(_ blocks: [UInt64], batch limit: Int) async throws {
        for start in stride(from: 0, to: blocks.count, by: limit) {
            try await send(blocks[start..<min(blocks.count, start + limit)])
        }
    }

    private func send(_ blocks: ArraySlice<UInt64>) async throws {
        let batch: BlockSender.Batch
        do {
            batch = try await sender.batch(blocks, on: pool)
        } catch let error as FileError {
            // One by one, so that blocks that can be read get there.
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
}
