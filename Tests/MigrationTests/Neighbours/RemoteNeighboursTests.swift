import Foundation
import NIOConcurrencyHelpers
import NIOCore
import Peer
import PeerModel
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol

@Suite("Reads from another host", .timeLimit(.minutes(5)))
struct RemoteNeighboursTests {
    private static let table = [UInt8](repeating: 1, count: 16)

    /// The block that an image of the test has there.
    private static func block(at offset: UInt64) -> [UInt8] {
        [UInt8](repeating: UInt8(offset >> 12 & 255), count: 4096)
    }

    private static func answer(_ read: NeighbourRead) -> Message {
        var payload = ByteBuffer()
        for offset in stride(from: read.offset, to: read.offset + UInt64(read.length), by: 4096) {
            payload.writeBytes(block(at: offset))
        }
        return .neighbourBytes(NeighbourBytes(id: read.id, payload: payload))
    }

    private func read(
        _ neighbours: RemoteNeighbours, at offset: UInt64, isUrgent: Bool
    ) async -> (isRead: Bool, bytes: [UInt8]) {
        await withCheckedContinuation { continuation in
            // A read blocks its thread.
            Thread.detachNewThread {
                var bytes = [UInt8](repeating: 0, count: 4096)
                let isRead = bytes.withUnsafeMutableBytes {
                    neighbours.read(Self.table, into: $0, at: offset, isUrgent: isUrgent)
                }
                continuation.resume(returning: (isRead, bytes))
            }
        }
    }

    @Test("Nothing that was asked for ahead of use comes -> a read that a client waits for comes all the same")
    func urgent() async throws {
        let node = try TestNode()
        let isBusy = NIOLockedValueBox(false)
        try await node.withPeer({ message, connection in
            switch message {
            case .hello: try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
            case .neighbourRead(let read) where read.offset < 16 << 20:
                // A node answers the requests of a connection one after the other.
                isBusy.withLockedValue { $0 = true }
                try await Task.sleep(for: .seconds(600))
            case .neighbourRead(let read): try await connection.send(Self.answer(read).encoded())
            default: return false
            }
            return true
        }) { address in
            let neighbours = RemoteNeighbours(
                host: "b", ownHost: "a", address: address, transport: node.transport, logger: node.logger)
            neighbours.willRead(Self.table, 0..<16 << 20, isUrgent: false)
            try await waitUntil("the other host is at work") { isBusy.withLockedValue { $0 } }
            let offset: UInt64 = 17 << 20 + 8192
            let found = await read(neighbours, at: offset, isUrgent: true)
            #expect(found.isRead && found.bytes == Self.block(at: offset))
        }
    }

    @Test("A piece has come ahead of use -> a read that a client waits for takes it, without a second request")
    func shared() async throws {
        let node = try TestNode()
        let reads = NIOLockedValueBox<[UInt64]>([])
        try await node.withPeer({ message, connection in
            switch message {
            case .hello: try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
            case .neighbourRead(let read):
                reads.withLockedValue { $0.append(read.offset) }
                try await connection.send(Self.answer(read).encoded())
            default: return false
            }
            return true
        }) { address in
            let neighbours = RemoteNeighbours(
                host: "b", ownHost: "a", address: address, transport: node.transport, logger: node.logger)
            #expect(await read(neighbours, at: 4096, isUrgent: false).isRead)
            let found = await read(neighbours, at: 8192, isUrgent: true)
            #expect(found.isRead && found.bytes == Self.block(at: 8192))
            #expect(reads.withLockedValue { $0 } == [0])
        }
    }
}
