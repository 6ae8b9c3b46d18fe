import NIOConcurrencyHelpers
import NIOCore
import Peer
import Testing

@testable import Migration
@testable import MigrationProtocol

@Suite("Batches that are ready to be sent")
struct ReadyBatchesTests {
    private static func item(_ number: UInt64, preparing: Duration = .zero) -> ReadyBatches.Item {
        var batch = BlockSender.Batch(level: 3)
        batch.data = DataSegment(
            runs: [BlockRange(first: number, count: 1)], compressed: ByteBuffer(repeating: 1, count: 100))
        batch.preparing = preparing
        return ReadyBatches.Item(batch: batch, ratio: 1, settled: number)
    }

    @Test("They go out in order, and no more wait than may", .timeLimit(.minutes(10)))
    func bounded() async throws {
        let ready = ReadyBatches()
        let counts = NIOLockedValueBox((put: 0, sent: 0, most: 0))
        async let sending: [UInt64] = {
            var order: [UInt64] = []
            try await ready.sendAll { item, _, _ in
                try await Task.sleep(for: .milliseconds(1))
                counts.withLockedValue { $0.sent += 1 }
                order.append(item.settled)
            }
            return order
        }()
        for number in 0..<100 as Range<UInt64> {
            counts.withLockedValue {
                $0.put += 1
                $0.most = max($0.most, $0.put - $0.sent)
            }
            try await ready.put(Self.item(number), limit: 20_000)
        }
        ready.finish()
        #expect(try await sending == Array(0..<100))
        // Each takes more than 1 KiB; and one that is being sent, and one that has just been put.
        #expect(counts.withLockedValue { $0.most } <= 21)
    }

    @Test("Whoever waits for room hears that nobody sends any more", .timeLimit(.minutes(10)))
    func cut() async throws {
        let ready = ReadyBatches()
        let sending = Task { try await ready.sendAll { _, _, _ in throw PeerError.cut } }
        await #expect(throws: PeerError.self) {
            for number in 0..<100 as Range<UInt64> { try await ready.put(Self.item(number), limit: 100) }
        }
        await #expect(throws: PeerError.self) { try await sending.value }
    }

    @Test("Who sends hears how much waits behind each", .timeLimit(.minutes(10)))
    func behind() async throws {
        let ready = ReadyBatches()
        for number in 0..<3 as Range<UInt64> { try await ready.put(Self.item(number), limit: 1 << 20) }
        ready.finish()
        var behind: [Int] = []
        try await ready.sendAll { behind.append($2) }
        #expect(behind.count == 3 && behind[0] == 2 * behind[1] && behind[1] > 1100 && behind[2] == 0)
    }

    @Test(
        "The link is idle because of a batch for as long as it was waited for, and not longer than it took",
        .timeLimit(.minutes(10)))
    func idle() async throws {
        let ready = ReadyBatches()
        let (idle, sent) = AsyncStream.makeStream(of: Duration.self)
        var times = idle.makeAsyncIterator()
        async let sending: Void = ready.sendAll { _, time, _ in sent.yield(time) }
        try await Task.sleep(for: .milliseconds(30))
        try await ready.put(Self.item(0, preparing: .milliseconds(20)), limit: 1 << 20)
        #expect(try #require(await times.next()) <= .milliseconds(20))
        // Whoever sends has noted that it has nothing to do.
        try await Task.sleep(for: .milliseconds(100))
        try await ready.put(Self.item(1, preparing: .seconds(20)), limit: 1 << 20)
        let second = try #require(await times.next())
        #expect(second >= .milliseconds(20) && second < .seconds(20))
        ready.finish()
        try await sending
    }
}
