import MigrationProtocol
import NIOCore

/// Judges the source's messages about one connection of a memory migration.
///
/// It hands out one batch at a time. Messages that come meanwhile wait in it.
package struct MemoryDestinationMachine: Sendable {
    /// The effect of a message.
    package enum Action: Equatable, Sendable {
        /// Connect to the hypervisor, and find the disks.
        case open(MemoryOffer)
        /// Unpack a batch; `deliver` or `askAgain` follows.
        case unpack(MemoryBatch)
        /// Use these bytes in the place of the batch that was wrong; `deliver` or `askAgain` follows.
        case repair(ByteBuffer)
        /// The stream is over if these are its length and its digest; `end` follows.
        case end(byteCount: UInt64, digest: DiskRoot)
        /// Nothing for now.
        case wait
    }

    private enum State: Equatable {
        case opening, relaying
        /// A batch is in hand.
        case unpacking(isRepaired: Bool)
        case repairing, ended
    }

    /// The most bytes of batches that wait: those that a source may have under way. A batch is compressed by then, or
    /// longer by less than a hundredth.
    package static let mostWaiting = Int(MemoryWindow.mostStream) + MemoryBatch.maximumBytes + (1 << 20)

    private var state = State.opening
    /// Whether the end of the stream has come, which nothing follows.
    private var hasEndCome = false
    /// Batches that were delivered.
    package private(set) var delivered: UInt64 = 0
    private var waiting = CircularBuffer<Action>()
    private var waitingBytes = 0

    package init() {}

    /// Whether the stream is over.
    package var isEnded: Bool { state == .ended }

    /// Judges a message.
    /// - Throws: `MigrationError`.
    package mutating func receive(_ message: Message) throws -> Action {
        switch message {
        case .cancel(let reason): throw MigrationError.peerFailed(reason)
        case .memory(.offer(let offer)) where state == .opening:
            state = .relaying
            return .open(offer)
        case .memory(.batch(let batch)) where mayFollow: return try take(.unpack(batch))
        case .memory(.end(let byteCount, let digest)) where mayFollow:
            hasEndCome = true
            return try take(.end(byteCount: byteCount, digest: digest))
        case .memory(.repair(let bytes)) where state == .repairing:
            state = .unpacking(isRepaired: true)
            return .repair(bytes)
        default: throw MigrationError.unexpected("a message about memory out of turn")
        }
    }

    /// Records that the hypervisor has the last batch.
    /// - Returns: the number of batches that it has.
    package mutating func deliver() -> UInt64 {
        precondition(isUnpacking, "a batch is delivered once")
        state = .relaying
        delivered += 1
        return delivered
    }

    /// The last batch is not what the source has.
    /// - Returns: the number under which it is asked for again.
    /// - Throws: `MigrationError.unexpected` if it came again already.
    package mutating func askAgain() throws -> UInt64 {
        precondition(isUnpacking, "a batch that was delivered is not asked for")
        guard state != .unpacking(isRepaired: true) else {
            throw MigrationError.unexpected("bytes of memory differ from those that the source hashed")
        }
        state = .repairing
        return delivered
    }

    /// The next action that has waited; nil if none does, or if it must wait on.
    package mutating func next() -> Action? {
        guard state == .relaying, let action = waiting.popFirst() else { return nil }
        waitingBytes -= Self.byteCount(of: action)
        return begin(action)
    }

    /// Records the end of the stream.
    package mutating func end() {
        precondition(state == .relaying && hasEndCome && waiting.isEmpty, "the end is the last message")
        state = .ended
    }

    private var mayFollow: Bool { state != .opening && state != .ended && !hasEndCome }

    private var isUnpacking: Bool { if case .unpacking = state { true } else { false } }

    /// Hands an action out, unless it must wait.
    private mutating func take(_ action: Action) throws -> Action {
        if state == .relaying, waiting.isEmpty { return begin(action) }
        waitingBytes += Self.byteCount(of: action)
        guard waiting.count < MemoryWindow.mostBatches, waitingBytes <= Self.mostWaiting else {
            throw MigrationError.unexpected("more memory under way than may be")
        }
        waiting.append(Self.copy(action))
        return .wait
    }

    private mutating func begin(_ action: Action) -> Action {
        if case .unpack = action { state = .unpacking(isRepaired: false) }
        return action
    }

    private static func byteCount(of action: Action) -> Int {
        if case .unpack(let batch) = action { batch.compressed.readableBytes } else { 0 }
    }

    /// The bytes of a message are a slice of what the socket gave, which may be far larger.
    private static func copy(_ action: Action) -> Action {
        guard case .unpack(var batch) = action else { return action }
        batch.compressed = ByteBuffer(buffer: batch.compressed)
        return .unpack(batch)
    }
}
