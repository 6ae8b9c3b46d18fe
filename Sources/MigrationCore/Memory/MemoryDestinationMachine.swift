import MigrationProtocol
import NIOCore

/// Judges the source's messages about one connection of a memory migration.
package struct MemoryDestinationMachine: Sendable {
    /// The effect of a message.
    package enum Action: Equatable, Sendable {
        /// Connect to the hypervisor, and find the disks.
        case open(MemoryOffer)
        /// Unpack a batch.
        case unpack(MemoryBatch)
        /// Use these bytes in the place of the batch that was wrong.
        case repair(ByteBuffer)
        /// The stream is over if these are its length and its digest.
        case end(byteCount: UInt64, digest: DiskRoot)
        /// Nothing for now.
        case wait
    }

    private enum State {
        case opening, relaying, repairing, ended
    }

    /// The most bytes of messages that wait for a repair. A source keeps no more under way.
    private static let mostWaiting = Int(MemoryWindow.mostStream) + (1 << 20)
    /// Bytes that an empty message counts for.
    private static let messageBytes = 256

    private var state = State.opening
    /// Batches that were delivered.
    package private(set) var delivered: UInt64 = 0
    private var waiting: [Action] = []
    private var waitingBytes = 0

    package init() {}

    /// Whether the stream is over.
    package var isEnded: Bool { state == .ended }

    /// Judges a message.
    /// - Throws: `MigrationError`.
    package mutating func receive(_ message: Message) throws -> Action {
        switch (message, state) {
        case (.cancel(let reason), _): throw MigrationError.peerFailed(reason)
        case (.memory(.offer(let offer)), .opening):
            state = .relaying
            return .open(offer)
        case (.memory(.batch(let batch)), .relaying): return .unpack(batch)
        case (.memory(.batch(let batch)), .repairing):
            return try hold(.unpack(batch), bytes: batch.compressed.readableBytes)
        case (.memory(.repair(let bytes)), .repairing):
            state = .relaying
            return .repair(bytes)
        case (.memory(.end(let byteCount, let digest)), .relaying):
            return .end(byteCount: byteCount, digest: digest)
        case (.memory(.end(let byteCount, let digest)), .repairing):
            return try hold(.end(byteCount: byteCount, digest: digest), bytes: 0)
        default: throw MigrationError.unexpected("a message about memory out of turn")
        }
    }

    /// Records that the hypervisor has the last batch.
    /// - Returns: the number of batches that it has.
    package mutating func deliver() -> UInt64 {
        precondition(state == .relaying)
        delivered += 1
        return delivered
    }

    /// The last batch is not what the source has.
    /// - Returns: the number under which it is asked for again.
    package mutating func askAgain() -> UInt64 {
        precondition(state == .relaying)
        state = .repairing
        return delivered
    }

    /// The next action that waited for a repair; nil if none does.
    package mutating func next() -> Action? {
        guard state == .relaying, !waiting.isEmpty else { return nil }
        let action = waiting.removeFirst()
        if case .unpack(let batch) = action { waitingBytes -= batch.compressed.readableBytes }
        waitingBytes -= Self.messageBytes
        return action
    }

    /// Records the end of the stream.
    package mutating func end() {
        precondition(state == .relaying && waiting.isEmpty)
        state = .ended
    }

    private mutating func hold(_ action: Action, bytes: Int) throws -> Action {
        waitingBytes += bytes + Self.messageBytes
        guard waitingBytes <= Self.mostWaiting else {
            throw MigrationError.unexpected("more memory under way than may be")
        }
        waiting.append(action)
        return .wait
    }
}
