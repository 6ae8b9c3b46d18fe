import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOPosix

/// Measures what the blocks that a destination wants would come to on the link: compresses them as a migration would, and
/// counts instead of sending. Beyond `whole` bytes it takes one batch of two, beyond twice that one of three, and so on.
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

    /// The bytes of blocks that need not be sent, of the messages for the others, and the seconds of work for these.
    var sum: (ledger: Ledger, data: UInt64, working: Double) {
        state.withLockedValue { ($0.ledger, $0.data, $0.working.inSeconds) }
    }

    func addZeros(_ bytes: UInt64) { state.withLockedValue { $0.ledger.zero += bytes } }

    /// Counts an answer of the destination.
    /// - Parameter nothingWaits: no further answer waits to be measured.
    func add(_ answer: OpenSegments.Answer, nothingWaits: Bool) async throws {
        state.withLockedValue { $0.ledger.add(answer.wants) }
        for batch in sender.batches(of: answer.wanted) {
            if let weight = weight(of: batch.count) { try await measure(batch, weight) }
        }
        guard nothingWaits, let rest = try await sender.rest(on: pool) else { return }
        state.withLockedValue { count(rest, weight: 1 + $0.seen / Self.whole, in: &$0) }
    }

    /// The number of batches for which the next one stands; nil if it is left out.
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
        // If the link is faster than the compression, the kernel takes all there is at once.
        sender.adaptLevel(
            after: batch, waiting: onLink < batch.preparing ? .zero : onLink, elapsed: max(batch.preparing, onLink),
            stretch: .init(bytesPerSecond: (bitsPerSecond ?? 0) / 8))
        state.withLockedValue { count(batch, weight: weight, in: &$0) }
    }

    private func count(_ batch: BlockSender.Batch, weight: UInt64, in state: inout State) {
        state.data += batch.length * weight
        state.working += batch.preparing * Int(weight)
    }
}

extension BlockSender.Batch {
    /// Bytes of its data on the link.
    fileprivate var length: UInt64 { data.map { SourceLink.length(of: .data($0)) } ?? 0 }
}
