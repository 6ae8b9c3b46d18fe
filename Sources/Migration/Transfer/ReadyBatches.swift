import MigrationProtocol
import NIOConcurrencyHelpers
import Peer

/// Batches between who prepares them and who sends them, in order: so that the one works ahead while what hardly shrinks keeps
/// the link busy, and the other has something to send while what takes long to compress is prepared. For one of each.
final class ReadyBatches: Sendable {
    /// A batch with what is to be said of it once it is sent.
    struct Item: Sendable {
        let batch: BlockSender.Batch
        /// What its blocks may come to compressed, by their size.
        let ratio: Double
        /// Bytes of the disk that are settled with it.
        let settled: UInt64
    }

    /// Bytes that are held for an item beside its messages'.
    private static let itemBytes = 1 << 10

    private let held = NIOLockedValueBox(0)
    private let items = AsyncStream.makeStream(of: Item.self)
    private let room = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// Adds a batch, and waits until there is room for another.
    /// - Parameter limit: bytes of memory for those that wait, this one among them or not.
    /// - Throws: `PeerError.cut` where nobody sends any more; `CancellationError`.
    func put(_ item: Item, limit: Int) async throws {
        held.withLockedValue { $0 += Self.size(of: item) }
        guard case .enqueued = items.continuation.yield(item) else { throw PeerError.cut }
        var room = room.stream.makeAsyncIterator()
        while held.withLockedValue({ $0 > limit }) {
            guard await room.next() != nil else {
                try Task.checkCancellation()
                throw PeerError.cut
            }
        }
    }

    /// Nothing more comes.
    func finish() { items.continuation.finish() }

    /// Sends what comes, until nothing more does.
    /// - Parameter send: given each with how long there was nothing to send because it was being prepared, and the bytes of
    ///   memory of those that wait behind it.
    func sendAll(_ send: (Item, Duration, Int) async throws -> Void) async throws {
        // Whoever waits for room waits in vain from then on.
        defer { room.continuation.finish() }
        var idleSince = ContinuousClock.now
        for await item in items.stream {
            let idle = min(idleSince.duration(to: .now), item.batch.preparing)
            let behind = held.withLockedValue { held in
                held -= Self.size(of: item)
                return held
            }
            room.continuation.yield()
            try await send(item, idle, behind)
            idleSince = .now
        }
        try Task.checkCancellation()
    }

    private static func size(of item: Item) -> Int {
        let runs = item.batch.zeros.count + (item.batch.data?.runs.count ?? 0)
        return itemBytes + runs * MemoryLayout<BlockRange>.stride + (item.batch.data?.compressed.storageCapacity ?? 0)
    }
}
