import Peer
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// Peers that say what a test makes them say.
extension TestNode {
    /// A peer that does with each message what `script` says, until that returns false.
    func withPeer(
        _ script: @escaping @Sendable (Message, PeerConnection) async throws -> Bool,
        _ body: (PeerAddress) async throws -> Void
    ) async throws {
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: transport)
        let task = Task {
            await listener.run { connection in
                connection.allowLongFrames()
                do {
                    for try await frame in connection.inbound {
                        guard try await script(try Message(frame: frame), connection) else { return }
                    }
                } catch {}
            }
        }
        defer { task.cancel() }
        try await body(listener.address)
    }

    /// A peer that answers as `script` says; nil ends the connection.
    func withPeer(
        answering script: @escaping @Sendable (Message) -> [Message]?, _ body: (PeerAddress) async throws -> Void
    ) async throws {
        try await withPeer(
            { message, connection in
                guard let answers = script(message) else { return false }
                for answer in answers { try await connection.send(answer.encoded()) }
                return true
            }, body)
    }

    /// Sends messages over a connection of their own.
    /// - Returns: so many answers, or fewer if the connection ends before.
    func say(_ messages: [Message], to address: PeerAddress, answers: Int) async throws -> [Message] {
        try await PeerConnection.connect(to: address, on: transport) { connection in
            for message in messages { try await connection.send(message.encoded()) }
            var heard: [Message] = []
            var frames = connection.inbound.makeAsyncIterator()
            while heard.count < answers, let frame = try await frames.next() {
                heard.append(try Message(frame: frame))
            }
            return heard
        }
    }

    /// Connects as a source that offers the disk `disk`, waits until it is taken, and does as `body` says.
    func offering(
        _ migration: MigrationID = MigrationID(), to address: PeerAddress,
        _ body: @escaping @Sendable (PeerConnection, inout PeerFrames) async throws -> Void
    ) async throws {
        try await PeerConnection.connect(to: address, on: transport) { connection in
            var frames = connection.inbound.makeAsyncIterator()
            let hello = Hello(purpose: .migrate, migration: migration, isCommitted: false, export: "disk")
            _ = try await connection.greet(hello, &frames)
            let offer = Offer(
                migration: migration, abandoned: [], export: "disk", size: 1 << 20, blockSize: 4096)
            try await connection.send(Message.offer(offer).encoded())
            #expect(try await frames.nextMessage() == .accepted)
            try await body(connection, &frames)
        }
    }
}
