import Foundation
import MigrationProtocol
import Peer

/// A connection on which another node measures the link. Nothing is read from disks or written to them.
struct ProbeConnection: Sendable {
    let context: DestinationContext
    let connection: PeerConnection

    /// Answers until the other node ends the connection.
    /// - Throws: if there are too many, if the other node sends more than it may, or if the link fails.
    func run(_ frames: inout PeerFrames) async throws {
        // A probe takes less than an estimate, and shares its places.
        try await context.registry.beginEstimate(for: connection.peer)
        let result: Result<Void, any Error>
        do { result = .success(try await answer(&frames)) } catch { result = .failure(error) }
        await context.registry.endEstimate(for: connection.peer)
        try result.get()
    }

    private func answer(_ frames: inout PeerFrames) async throws {
        try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
        let timeout = IdleTimeout(DestinationContext.offerLimit, for: connection)
        defer { timeout.end() }
        var received = 0
        while let frame = try await frames.next() {
            timeout.renew()
            guard case .probe(let payload) = try Message(frame: frame) else {
                throw MigrationError.unexpected("more than a probe")
            }
            received += payload.readableBytes
            guard received <= ProbeAnswer.maximumBytes else { throw MigrationError.unexpected("a long probe") }
            let clock = UInt64(max(0, Date().timeIntervalSince1970 * 1000))
            let answer = ProbeAnswer(
                clockMilliseconds: clock, received: UInt64(received), release: Release.version)
            try await connection.send(Message.probed(answer).encoded())
        }
    }
}
