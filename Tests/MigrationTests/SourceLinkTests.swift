import NIOConcurrencyHelpers
import NIOCore
import Peer
import Testing

@testable import Migration

@Suite("The source's link")
struct SourceLinkTests {
    @Test("What is told of the disk goes before bulk data that waits with it", .timeLimit(.minutes(1)))
    func order() async throws {
        let node = try TestNode()
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: node.transport)
        let (stream, heard) = AsyncStream.makeStream(of: Int.self)
        let task = Task {
            await listener.run { connection in
                do {
                    for try await frame in connection.inbound { heard.yield(frame.readableBytes) }
                } catch {}
                heard.finish()
            }
        }
        defer { task.cancel() }
        let data = Message.data(
            DataSegment(
                runs: [BlockRange(first: 0, count: 1)], compressed: ByteBuffer(repeating: 1, count: 6000)))
        try await PeerConnection.connect(to: listener.address, on: node.transport) { connection in
            // 20 ms for each piece of data.
            let link = SourceLink(connection: connection, rate: RateLimit(bitsPerSecond: 2_400_000))
            try await link.sendBulk(data)
            async let bulk: Void = {
                for _ in 0..<3 { try await link.sendBulk(data) }
            }()
            async let told: Void = {
                for round in 0..<20 as Range<UInt32> { try await link.send(.roundEnd(round)) }
            }()
            _ = try await (bulk, told)
            for _ in 0..<1000 where connection.isOpen { await Task.yield() }
        }
        var order: [Int] = []
        for await size in stream { order.append(size) }
        #expect(order.count == 24)
        // One piece of data was ahead of all, and one may have been in line already.
        let last = try #require(order.lastIndex { $0 < 100 })
        #expect(order.prefix(last).count { $0 > 6000 } <= 2, "\(order)")
    }

    @Test("Bulk data does not wait for what can't be sent any more", .timeLimit(.minutes(1)))
    func cut() async throws {
        let node = try TestNode()
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: node.transport)
        let task = Task { await listener.run { try? await Task.sleep(for: .seconds(60 + ($0.isOpen ? 0 : 1))) } }
        defer { task.cancel() }
        try await PeerConnection.connect(to: listener.address, on: node.transport) { connection in
            let link = SourceLink(connection: connection, rate: RateLimit(bitsPerSecond: 8))
            try await link.send(.roundEnd(1))
            let told = Task { try await link.send(.roundEnd(2)) }
            let bulk = Task { try await link.sendBulk(.roundEnd(3)) }
            try await Task.sleep(for: .milliseconds(50))
            link.close()
            await #expect(throws: (any Error).self) { try await told.value }
            await #expect(throws: (any Error).self) { try await bulk.value }
        }
    }
}
