import NIOCore
import Peer
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("The source's link")
struct SourceLinkTests {
    @Test("What is told of the disk goes before bulk data that waits with it", .timeLimit(.minutes(10)))
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
        let telling = Message.data(
            DataSegment(runs: [BlockRange(first: 0, count: 1)], compressed: ByteBuffer(repeating: 1, count: 6000)))
        try await PeerConnection.connect(to: listener.address, on: node.transport) { connection in
            // 20 ms for each telling; what waits for the limit gets its turn by chance.
            let link = SourceLink(connection: connection, rate: RateLimit(bitsPerSecond: 2_400_000))
            try await link.send(telling)
            try await withThrowingTaskGroup { group in
                for _ in 0..<10 { group.addTask { try await link.send(telling) } }
                try await Task.sleep(for: .milliseconds(5))
                group.addTask { try await link.sendBulk(.roundEnd(1)) }
                try await Task.sleep(for: .milliseconds(5))
                for _ in 0..<10 { group.addTask { try await link.send(telling) } }
                try await group.waitForAll()
            }
        }
        var order: [Int] = []
        for await size in stream { order.append(size) }
        #expect(order.count == 22 && order.last! < 100, "\(order)")
    }

    /// A connection to somebody who reads nothing.
    private static func withDeafPeer(_ body: @Sendable (PeerConnection) async throws -> Void) async throws {
        let node = try TestNode()
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: node.transport)
        let task = Task { await listener.run { _ in try? await Task.sleep(for: .seconds(60)) } }
        defer { task.cancel() }
        try await PeerConnection.connect(to: listener.address, on: node.transport, body)
    }

    @Test(
        "What has come and what could not be sent is known, and the rate is no more than the limit",
        .timeLimit(.minutes(10)))
    func path() async throws {
        try await Self.withDeafPeer { connection in
            let link = SourceLink(connection: connection, rate: RateLimit(bitsPerSecond: nil))
            let limited = SourceLink(connection: connection, rate: RateLimit(bitsPerSecond: 800))
            #expect(await link.path()?.unsent == 0)
            let bulk = Message.data(
                DataSegment(
                    runs: [BlockRange(first: 0, count: 1)], compressed: ByteBuffer(repeating: 1, count: 1 << 19)))
            let sending = Task { for _ in 0..<256 { try await link.sendBulk(bulk) } }
            var path = await link.path()
            while path?.unsent == 0 { path = await link.path() }
            let found = try #require(path)
            #expect(found.acknowledged > 0 && found.bytesPerSecond > 100)
            #expect(await limited.path()?.bytesPerSecond == 100)
            link.close()
            await #expect(throws: (any Error).self) { try await sending.value }
        }
    }

    @Test("Bulk data does not wait for what can't be sent any more", .timeLimit(.minutes(10)))
    func cut() async throws {
        try await Self.withDeafPeer { connection in
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
