import MigrationProtocol
import NIOConcurrencyHelpers
import Peer

/// The queue of batches between one task that prepares them and one that sends them. Preparation runs ahead while blocks that
/// hardly shrink keep the link busy, and the link has batches to send while others take long to compress.
final class ReadyBatches: Sendable {
    /// A batch, and its report once it is sent.
    struct Item: Sendable {
        let batch: BlockSender.Batch
        /// Bytes that its blocks may come to compressed, by their size.
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
    /// - Parameter limit: bytes of memory for batches that wait; a single one may exceed it.
    /// - Throws: `PeerError.cut` if the sender has ended; `CancellationError`.
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

    /// Ends the queue: no batch follows.
    func finish() { items.continuation.finish() }

    /// Sends batches until the queue ends.
    /// - Parameter send: receives each batch, the link's idle time while the batch was prepared, and the bytes of memory of the
    ///   batches behind it.
    func sendAll(_ send: (Item, Duration, Int) async throws -> Void) async throws {
        // From here on no room becomes free, so that waiting for it must end.
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
