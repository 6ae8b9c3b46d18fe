import MigrationProtocol
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

    private struct Room {
        /// Bytes of the batches that wait.
        var held = 0
        /// The sender has ended: no room becomes free any more.
        var isOver = false
    }

    private let items = AsyncStream.makeStream(of: Item.self)
    private let room = WatchedValue(Room())

    /// Adds a batch, and waits until there is room for another.
    /// - Parameter limit: bytes of memory for batches that wait; a single one may exceed it.
    /// - Throws: `PeerError.cut` if the sender has ended; `CancellationError`.
    func put(_ item: Item, limit: Int) async throws {
        room.withLockedValue { $0.held += Self.size(of: item) }
        guard case .enqueued = items.continuation.yield(item) else { throw PeerError.cut }
        try await room.waitUnlessCancelled { $0.held <= limit || $0.isOver }
        guard room.withLockedValue({ $0.held <= limit }) else { throw PeerError.cut }
    }

    /// Ends the queue: no batch follows.
    func finish() { items.continuation.finish() }

    /// Sends batches until the queue ends.
    /// - Parameter send: receives each batch, the link's idle time while the batch was prepared, and the bytes of memory of the
    ///   batches behind it.
    func sendAll(_ send: (Item, Duration, Int) async throws -> Void) async throws {
        defer { room.withLockedValue { $0.isOver = true } }
        var idleSince = ContinuousClock.now
        for await item in items.stream {
            let idle = min(idleSince.duration(to: .now), item.batch.preparing)
            let behind = room.withLockedValue { room in
                room.held -= Self.size(of: item)
                return room.held
            }
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
