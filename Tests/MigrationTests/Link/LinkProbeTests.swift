import NIOCore
import NIOPosix
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// The measurement of a link, and how a destination bounds it.
@Suite("Probes of the link")
struct LinkProbeTests {
    @Test("A destination of this release -> its release, clock and a rate")
    func measured() async throws {
        let node = try TestNode()
        try await node.receiving { address in
            let result = try await LinkProbe(address: address, protection: .loopback).measure()
            let details = try #require(result.details)
            #expect(details.release == Release.version)
            #expect(abs(details.clockDifferenceSeconds) < 1 && details.bytesPerSecond > 0)
            #expect(result.lacking.isEmpty && result.roundTripSeconds > 0 && result.roundTripSeconds < 5)
        }
    }

    @Test("A destination that can't be measured -> what its release lacks, and no details")
    func older() async throws {
        let transport = PeerTransport(group: MultiThreadedEventLoopGroup.singleton)
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: transport)
        let task = Task {
            await listener.run { connection in
                var frames = connection.inbound.makeAsyncIterator()
                guard let frame = try? await frames.next(), case .hello(let hello)? = try? Message(frame: frame),
                    hello.purpose == .estimate
                else { return }
                let old = ProtocolSupport(
                    versions: 3...3, capabilities: ProtocolSupport.own.capabilities.subtracting([.probe, .freeBlocks]))
                try? await connection.send(Message.welcome(Welcome(support: old, blockSize: 4096)).encoded())
                _ = try? await frames.next()
            }
        }
        let result = try await LinkProbe(address: listener.address, protection: .loopback).measure()
        #expect(result.details == nil && result.lacking == ["freeBlocks", "probe"])
        task.cancel()
        await task.value
    }

    @Test("A probe of more bytes than allowed, or of other messages -> refused")
    func bounded() async throws {
        let node = try TestNode()
        try await node.receiving { address in
            let long = try await Self.ending(of: address, .probe(ByteBuffer(repeating: 7, count: 8000)), 8400)
            #expect(long.contains("long probe"))
            let other = try await Self.ending(of: address, .commit, 1)
            #expect(other.contains("more than a probe"))
        }
    }

    /// Sends a message many times on a probe's connection; returns the reason for which it is ended.
    private static func ending(of address: PeerAddress, _ message: Message, _ count: Int) async throws -> String {
        let transport = PeerTransport(group: MultiThreadedEventLoopGroup.singleton)
        return try await PeerConnection.connect(to: address, on: transport) { connection in
            var frames = connection.inbound.makeAsyncIterator()
            _ = try await connection.greet(Hello(purpose: .probe, migration: MigrationID()), &frames)
            let sending = Task {
                for _ in 0..<count { try await connection.send(message.encoded()) }
            }
            defer { sending.cancel() }
            while let frame = try await frames.next() {
                if case .refused(let reason) = try Message(frame: frame) { return reason }
            }
            return "none"
        }
    }
}
