import Foundation
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer
import PeerModel

/// Measures the link to another node: its round trip and rate, the other node's release and clock.
public struct LinkProbe: Sendable {
    /// A finished measurement.
    public struct Result: Sendable {
        /// The shortest round trip of TCP, or of a message if TCP says nothing. Seconds.
        public var roundTripSeconds: Double
        /// Parts of the protocol that this release has, and the other node's lacks.
        public var lacking: [String]
        /// The other node's answers; nil if its release has none.
        public var details: Details?
    }

    /// The answers of a release that can be measured.
    public struct Details: Sendable {
        /// The other node's release.
        public var release: String
        /// The other node's clock less this one's, in seconds. Exact to half a round trip.
        public var clockDifferenceSeconds: Double
        /// Bytes a second of payload that the link has carried; a lower bound, as the probe is short.
        public var bytesPerSecond: Double
    }

    /// Payload bytes of a message: with its header it fits into what a node accepts of a stranger.
    private static let pieceBytes = 8000
    private static let mostBytes = 16 << 20
    private static let longestTime = Duration.seconds(1)

    private let address: PeerAddress
    private let transport: PeerTransport

    /// - Parameters:
    ///   - address: The other node's address for peers.
    ///   - protection: The certificates, as for a migration.
    public init(address: PeerAddress, protection: PeerProtection) {
        self.address = address
        transport = PeerTransport(group: MultiThreadedEventLoopGroup.singleton, protection: protection)
    }

    /// Measures for about a second, with up to 16 MiB.
    /// - Throws: `PeerError` or `MigrationError` if the other node does not answer, or refuses.
    public func measure() async throws -> Result {
        // Releases that can't be measured answer an estimate.
        let (support, roundTrip) = try await greet(.estimate) { connection, _, took in
            (await connection.path()?.shortestRoundTrip.inSeconds).flatMap { $0 > 0 ? $0 : nil } ?? took
        }
        let lacking = ProtocolSupport.own.capabilities.subtracting(support.capabilities)
        var result = Result(roundTripSeconds: roundTrip, lacking: lacking.names, details: nil)
        guard support.capabilities.contains(.probe) else { return result }
        (_, result.details) = try await greet(.probe) { connection, frames, _ in
            try await probe(connection, &frames)
        }
        return result
    }

    private func greet<Value: Sendable>(
        _ purpose: Hello.Purpose,
        _ body: @Sendable @escaping (PeerConnection, inout PeerFrames, Double) async throws -> Value
    ) async throws -> (ProtocolSupport, Value) {
        try await PeerConnection.connect(to: address, on: transport) { connection in
            var frames = connection.inbound.makeAsyncIterator()
            let began = ContinuousClock.now
            let welcome = try await connection.greet(Hello(purpose: purpose, migration: MigrationID()), &frames)
            let took = (ContinuousClock.now - began).inSeconds
            _ = try ProtocolSupport.agreement(source: .own, destination: welcome.support)
            return (welcome.support, try await body(connection, &frames, took))
        }
    }

    private func probe(_ connection: PeerConnection, _ frames: inout PeerFrames) async throws -> Details {
        let asked = Date()
        try await connection.send(Message.probe(ByteBuffer()).encoded())
        let first = try await answer(&frames)
        let middle = (asked.timeIntervalSince1970 + Date().timeIntervalSince1970) / 2
        let began = ContinuousClock.now
        let sending = Task { try await send(over: connection) }
        defer { sending.cancel() }
        var received: UInt64 = 0
        // The answers tell how much has crossed.
        while received < Self.mostBytes, ContinuousClock.now - began < Self.longestTime {
            received = try await answer(&frames).received
        }
        let seconds = max((ContinuousClock.now - began).inSeconds, 1e-6)
        connection.close()
        return Details(
            release: first.release, clockDifferenceSeconds: Double(first.clockMilliseconds) / 1000 - middle,
            bytesPerSecond: Double(received) / seconds)
    }

    private func send(over connection: PeerConnection) async throws {
        var random = SystemRandomNumberGenerator()
        // A link that compresses must not look faster than it is.
        let payload = ByteBuffer(bytes: (0..<Self.pieceBytes).map { _ in UInt8.random(in: 0...255, using: &random) })
        let frame = Message.probe(payload).encoded()
        for _ in 0..<(Self.mostBytes / Self.pieceBytes + 1) {
            try Task.checkCancellation()
            try await connection.send(frame)
        }
    }

    private func answer(_ frames: inout PeerFrames) async throws -> ProbeAnswer {
        guard let frame = try await frames.next() else { throw PeerError.cut }
        switch try Message(frame: frame) {
        case .probed(let answer): return answer
        case .refused(let reason): throw MigrationError.refused(reason)
        default: throw MigrationError.unexpected("no answer to a probe")
        }
    }
}
