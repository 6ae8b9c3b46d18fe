import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOPosix

/// What the blocks that a destination wants would come to on the link: compressed as they would be, and counted instead of
/// sent. Of many, only some: one of two after `whole` bytes, one of three after twice that, and so on.
final class DataSample: Sendable {
    private struct State {
        var ledger = Ledger()
        var seen: UInt64 = 0
        var batches: UInt64 = 0
        var data: UInt64 = 0
        var working = Duration.zero
    }

    private static let whole: UInt64 = 512 << 20

    private let sender: BlockSender
    private let pool: NIOThreadPool
    private let bitsPerSecond: UInt64?
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - pool: for reading and compressing.
    ///   - bitsPerSecond: of the link; nil for one that is never waited for.
    init(sender: BlockSender, pool: NIOThreadPool, bitsPerSecond: UInt64?) {
        self.pool = pool
        self.sender = sender
        self.bitsPerSecond = bitsPerSecond
    }

    /// Where the blocks are that need not be sent; bytes of messages with those that would be, and seconds of work for them.
    var sum: (ledger: Ledger, data: UInt64, working: Double) {
        state.withLockedValue { ($0.ledger, $0.data, $0.working.inSeconds) }
    }

    func addZeros(_ bytes: UInt64) { state.withLockedValue { $0.ledger.zero += bytes } }

    /// A destination has answered.
    /// - Parameter nothingWaits: nothing more is to be measured for now.
    func add(_ answer: OpenSegments.Answer, nothingWaits: Bool) async throws {
        state.withLockedValue { $0.ledger.add(answer.wants) }
        for batch in sender.batches(of: answer.wanted) {
            if let weight = weight(of: batch.count) { try await measure(batch, weight) }
        }
        guard nothingWaits, let rest = try await sender.rest(on: pool) else { return }
        state.withLockedValue { note(rest, weight: 1 + $0.seen / Self.whole, in: &$0) }
    }

    /// For how many batches the next one stands; nil where it is left out.
    private func weight(of blocks: Int) -> UInt64? {
        state.withLockedValue { state in
            let weight = 1 + state.seen / Self.whole
            state.seen += UInt64(blocks * sender.blockSize)
            state.batches += 1
            return state.batches % weight == 0 ? weight : nil
        }
    }

    private func measure(_ blocks: ArraySlice<UInt64>, _ weight: UInt64) async throws {
        let batch = try await sender.batch(blocks, on: pool)
        let onLink = bitsPerSecond.map { Duration.seconds(Double(batch.length) * 8 / Double($0)) } ?? .zero
        // Where the link is the quicker, the kernel takes what there is at once.
        sender.note(
            batch, waiting: onLink < batch.preparing ? .zero : onLink, elapsed: max(batch.preparing, onLink),
            stretch: .init(bytesPerSecond: (bitsPerSecond ?? 0) / 8))
        state.withLockedValue { note(batch, weight: weight, in: &$0) }
    }

    private func note(_ batch: BlockSender.Batch, weight: UInt64, in state: inout State) {
        state.data += batch.length * weight
        state.working += batch.preparing * Int(weight)
    }
}

extension BlockSender.Batch {
    /// What its data takes on the link. Bytes.
    fileprivate var length: UInt64 { data.map { SourceLink.length(of: .data($0)) } ?? 0 }
}
