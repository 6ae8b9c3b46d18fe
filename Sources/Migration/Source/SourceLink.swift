import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import Peer
import PeerModel

/// The source's connection to the destination: sends messages under the rate limit, and counts them by their purpose.
final class SourceLink: Sendable {
    /// Bytes in front of each frame.
    private static let lengthField = 4
    /// Most time until a last message is heard.
    private static let farewellLimit = Duration.milliseconds(2500)
    /// Bytes that must have crossed to tell the rate.
    private static let enoughToTell: UInt64 = 1 << 20

    private let connection: PeerConnection
    private let rate: RateLimit
    private let counts = NIOLockedValueBox(WireBytes())
    /// Number of waiting messages that must not wait for data.
    private let ahead = WatchedValue(0)
    /// The reason that the destination has given for giving up.
    private let failure = NIOLockedValueBox(String?.none)

    init(connection: PeerConnection, rate: RateLimit) {
        self.connection = connection
        self.rate = rate
    }

    /// Sends a message once the limit and the link have room.
    func send(_ message: Message) async throws {
        ahead.withLockedValue { $0 += 1 }
        defer { ahead.withLockedValue { $0 -= 1 } }
        try await sendInTurn(message)
    }

    /// Sends a message of bulk data once no other message waits, and the limit and the link have room. Other messages
    /// are few, and much depends on them.
    func sendBulk(_ message: Message) async throws {
        // Another message may have come by the time that this task goes on.
        while ahead.withLockedValue({ $0 > 0 }) { try await ahead.waitUnlessCancelled { $0 == 0 } }
        try await sendInTurn(message)
    }

    private func sendInTurn(_ message: Message) async throws {
        let frame = message.encoded()
        count(message, frame.readableBytes)
        try await rate.wait(for: frame.readableBytes) { connection.isOpen }
        try await connection.send(frame)
    }

    /// Bytes of a message on the link, before encryption.
    static func length(of message: Message) -> UInt64 { UInt64(message.encoded().readableBytes + lengthField) }

    /// Sends a message now: the end of a migration does not wait for the limit.
    func sendNow(_ message: Message) async throws {
        try await connection.send(message.encoded())
    }

    /// Notes a message that has come, for the bill.
    func received(_ message: Message, frameLength: Int) {
        count(message, frameLength)
        if case .failed(let reason) = message { failure.withLockedValue { $0 = reason } }
    }

    /// The bytes that have crossed so far.
    var wire: WireBytes {
        var wire = counts.withLockedValue { $0 }
        wire.total = connection.traffic.sent + connection.traffic.received
        wire.control = wire.total - min(wire.total, wire.data + wire.fingerprints)
        return wire
    }

    /// Bits a second; nil for no limit.
    var rateLimit: UInt64? { rate.bitsPerSecond }

    /// TCP's state of the path now, whose rate is at most the limit; nil if TCP does not say, or the link is cut.
    func path() async -> PathState? {
        await connection.path()?.limited(to: rateLimit)
    }

    /// Bytes a second that the path carries; 0 if too little has crossed to tell.
    func carries() async -> UInt64 {
        guard let path = await path(), path.acknowledged >= Self.enoughToTell else { return 0 }
        return path.bytesPerSecond
    }

    /// Whether the link still stands, as far as is known.
    var isOpen: Bool { connection.isOpen }

    func close() {
        connection.close()
    }

    /// Gives up, and closes once the peer has hung up because of it, or soon. Closing at once could make the kernel
    /// drop the message, if something of the peer's has not been read.
    /// - Returns: whether the peer has answered that it has given up for this very reason.
    func cancel(_ reason: String) async -> Bool {
        let patience = Task {
            try await Task.sleep(for: Self.farewellLimit)
            close()
        }
        defer { patience.cancel() }
        try? await connection.send(Message.cancel(reason: reason).encoded())
        await connection.waitUntilClosed()
        return failure.withLockedValue { $0 } == reason
    }

    private func count(_ message: Message, _ frameLength: Int) {
        let bytes = UInt64(frameLength + Self.lengthField)
        switch message {
        case .data: counts.withLockedValue { $0.data += bytes }
        case .manifest, .summary, .differences, .wants, .prefixQuestion, .prefixAnswer:
            counts.withLockedValue { $0.fingerprints += bytes }
        default: break
        }
    }
}
