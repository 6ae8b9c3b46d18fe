import Foundation
import NIOCore
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("Two releases", .timeLimit(.minutes(10)))
struct NegotiationTests {
    /// A release that knows things that this one does not.
    private static func release(_ versions: ClosedRange<UInt16>) -> ProtocolSupport {
        ProtocolSupport(versions: versions, capabilities: .init(rawValue: .max))
    }

    private static let own = ProtocolSupport.own.versions.upperBound

    @Test("They speak the highest version, and use what both can")
    func agreement() throws {
        let old = ProtocolSupport(versions: 2...5, capabilities: .init(rawValue: 0b0110))
        let new = ProtocolSupport(versions: 4...9, capabilities: .init(rawValue: 0b1100))
        for (source, destination) in [(old, new), (new, old)] {
            let agreement = try ProtocolSupport.agreement(source: source, destination: destination)
            #expect(agreement == .init(version: 5, capabilities: .init(rawValue: 0b0100)))
        }
        let error = #expect(throws: MigrationError.self) {
            try ProtocolSupport.agreement(source: Self.release(1...3), destination: Self.release(4...4))
        }
        let line = try #require(error).description
        #expect(line.contains("versions 1 to 3") && line.contains("version 4"), "\(line)")
    }

    /// What a destination says to a hello, and to an offer where it welcomes.
    private func answers(to hello: ByteBuffer) async throws -> [Message] {
        let node = try TestNode()
        return try await node.receiving { address in
            try await PeerConnection.connect(to: address, on: node.transport) { connection in
                try await connection.send(hello)
                var frames = connection.inbound.makeAsyncIterator()
                var said = [try await frames.nextMessage()]
                guard case .welcome = said[0] else { return said }
                let offer = Offer(migration: MigrationID(), abandoned: [], export: "disk", size: 8192, blockSize: 4096)
                try await connection.send(Message.offer(offer).encoded())
                said.append(try await frames.nextMessage())
                return said
            }
        }
    }

    private func hello(_ support: ProtocolSupport, more: [UInt8] = [], purpose: UInt8? = nil) -> ByteBuffer {
        var frame = Message.hello(Hello(support: support, purpose: .migrate, migration: MigrationID())).encoded()
        // Behind the type, the magic number, two versions and the capabilities.
        if let purpose { frame.setInteger(purpose, at: 1 + 8 + 4 + 8) }
        frame.writeBytes(more)
        return frame
    }

    @Test("A source of a later release that still speaks ours moves its disk, whatever else it says")
    func futureSource() async throws {
        let said = try await answers(to: hello(Self.release(Self.own...99), more: Array(0..<200)))
        #expect(said.count == 2 && said.last == .accepted)
    }

    @Test("A source too far away hears both versions", arguments: [1, 7] as [UInt16])
    func strangeSource(version: UInt16) async throws {
        let said = try await answers(to: hello(Self.release(version...version)))
        guard case .refused(let reason)? = said.first else { throw MigrationError.unexpected("\(said)") }
        #expect(reason.contains("source speaks version \(version) ") && reason.contains("version \(Self.own);"))
    }

    @Test("A purpose that a later release has invented is refused in a line")
    func futurePurpose() async throws {
        let said = try await answers(to: hello(Self.release(Self.own...99), purpose: 77))
        guard case .refused(let reason)? = said.first else { throw MigrationError.unexpected("\(said)") }
        #expect(reason.contains("same release"))
    }

    @Test("A destination too far away is left with an error that names both versions", arguments: [1, 7] as [UInt16])
    func strangeDestination(version: UInt16) async throws {
        let error = try await migrate(to: Welcome(support: Self.release(version...version), blockSize: 4096))
        let line = String(describing: error)
        #expect(line.contains("destination version \(version);") && line.contains("version \(Self.own) "), "\(line)")
    }

    @Test("A destination of a later release that still speaks ours is offered the disk")
    func futureDestination() async throws {
        let error = try await migrate(to: Welcome(support: Self.release(1...99), blockSize: 4096), more: [1, 2, 3])
        #expect(String(describing: error).contains("has heard the offer"))
    }

    /// How a migration ends at a destination that says this.
    private func migrate(to welcome: Welcome, more: [UInt8] = []) async throws -> any Error {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 8192, &random)
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: node.transport)
        var answer = Message.welcome(welcome).encoded()
        answer.writeBytes(more)
        let frame = answer
        let task = Task {
            await listener.run { connection in
                do {
                    for try await asked in connection.inbound {
                        if case .offer = try Message(frame: asked) {
                            try await connection.send(Message.refused(reason: "it has heard the offer").encoded())
                        } else {
                            try await connection.send(frame)
                        }
                    }
                } catch {}
            }
        }
        defer { task.cancel() }
        let error = await #expect(throws: (any Error).self) {
            try await node.migration(of: disk, image, to: listener.address).run { _ in }
        }
        return try #require(error)
    }
}
