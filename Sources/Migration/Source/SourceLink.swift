import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import Peer
import PeerModel

/// The source's connection to the destination: messages out under the rate limit, and counted by what they are for.
final class SourceLink: Sendable {
    /// In front of each frame. Bytes.
    private static let lengthField = 4
    /// How long a last word may take to be heard.
    private static let farewellLimit = Duration.milliseconds(2500)
    /// What has to have crossed to say how fast. Bytes.
    private static let enoughToTell: UInt64 = 1 << 20

    private let connection: PeerConnection
    private let rate: RateLimit
    private let counts = NIOLockedValueBox(WireBytes())
    /// How many wait that must not wait for data, and the sign that none does.
    private let ahead = NIOLockedValueBox(0)
    /// Why the destination has said that it has given up.
    private let failure = NIOLockedValueBox(String?.none)
    private let clear = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    init(connection: PeerConnection, rate: RateLimit) {
        self.connection = connection
        self.rate = rate
    }

    /// Sends a message once the limit and the link have room.
    func send(_ message: Message) async throws {
        ahead.withLockedValue { $0 += 1 }
        defer {
            if ahead.withLockedValue({ ahead in
                ahead -= 1
                return ahead == 0
            }) {
                clear.continuation.yield()
            }
        }
        try await sendInTurn(message)
    }

    /// Sends a message of bulk data once no other waits, and the limit and the link have room: what the destination is told
    /// of the disk is little, and much depends on it. One at a time.
    func sendBulk(_ message: Message) async throws {
        var clear = clear.stream.makeAsyncIterator()
        while ahead.withLockedValue({ $0 > 0 }) {
            guard await clear.next() != nil else { throw CancellationError() }
        }
        try await sendInTurn(message)
    }

    private func sendInTurn(_ message: Message) async throws {
        let frame = message.encoded()
        count(message, frame.readableBytes)
        try await rate.wait(for: frame.readableBytes) { connection.isOpen }
        try await connection.send(frame)
    }

    /// What a message takes on the link, but for encryption. Bytes.
    static func length(of message: Message) -> UInt64 { UInt64(message.encoded().readableBytes + lengthField) }

    /// Sends a message now: what ends a migration does not wait for the limit.
    func sendNow(_ message: Message) async throws {
        try await connection.send(message.encoded())
    }

    /// Notes a message that has come, for the bill.
    func received(_ message: Message, frameLength: Int) {
        count(message, frameLength)
        if case .failed(let reason) = message { failure.withLockedValue { $0 = reason } }
    }

    /// What has crossed so far.
    var wire: WireBytes {
        var wire = counts.withLockedValue { $0 }
        wire.total = connection.traffic.sent + connection.traffic.received
        wire.control = wire.total - min(wire.total, wire.data + wire.fingerprints)
        return wire
    }

    /// Bits a second; nil for no limit.
    var rateLimit: UInt64? { rate.bitsPerSecond }

    /// What TCP knows of the path now, which carries no more than the limit lets through; nil where it does not say, or the
    /// link is cut.
    func path() async -> PathState? {
        guard var path = await connection.path() else { return nil }
        if let limit = rateLimit { path.bytesPerSecond = min(path.bytesPerSecond, limit / 8) }
        return path
    }

    /// Bytes per second that the path carries, where enough has crossed to tell; otherwise 0.
    func carries() async -> UInt64 {
        guard let path = await path(), path.acknowledged >= Self.enoughToTell else { return 0 }
        return path.bytesPerSecond
    }

    /// Whether the link still stands, as far as is known.
    var isOpen: Bool { connection.isOpen }

    func close() {
        connection.close()
    }

    /// Gives up, and closes once the peer has hung up because of it, or soon: to close at once could make the kernel
    /// throw the word away, where something of the peer's has not been read.
    /// - Returns: whether the peer has answered that it has given up for this very reason.
    func cancel(_ reason: String) async -> Bool {
        let end = ContinuousClock.now + Self.farewellLimit
        let patience = Task {
            try await Task.sleep(until: end)
            close()
        }
        defer { patience.cancel() }
        try? await connection.send(Message.cancel(reason: reason).encoded())
        while isOpen, ContinuousClock.now < end { try? await Task.sleep(for: .milliseconds(5)) }
        close()
        return failure.withLockedValue { $0 } == reason
    }

    private func count(_ message: Message, _ frameLength: Int) {
        let bytes = UInt64(frameLength + Self.lengthField)
        switch message {
        case .data: counts.withLockedValue { $0.data += bytes }
        case .manifest, .summary, .differences, .wants: counts.withLockedValue { $0.fingerprints += bytes }
        default: break
        }
    }
}
