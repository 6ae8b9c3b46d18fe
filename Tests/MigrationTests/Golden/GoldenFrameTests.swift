import NIOCore
import NIOEmbedded
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import Peer

/// The length in front of every message.
@Suite("Golden: frames")
struct GoldenFrameTests {
    private func decode(_ hex: String, limit: Int) throws -> (frames: [String], rest: Int) {
        let codec = FrameCodec(limit: FrameLimit(limit))
        var buffer = GoldenValues.bytes(hex)
        var frames: [String] = []
        while let frame = try codec.decode(buffer: &buffer) { frames.append(GoldenValues.hex(frame)) }
        return (frames, buffer.readableBytes)
    }

    /// The bytes that go to the socket.
    private func sent(_ frames: [ByteBuffer]) throws -> ByteBuffer {
        let channel = EmbeddedChannel(handler: FrameWriter())
        for frame in frames { try channel.writeOutbound(frame) }
        var out = ByteBuffer()
        while var part = try channel.readOutbound(as: ByteBuffer.self) { out.writeBuffer(&part) }
        _ = try channel.finish()
        return out
    }

    @Test("A frame of any length goes out as its length and its bytes", arguments: [1, 65_536, 65_537, 1 << 20])
    func anyLength(_ count: Int) throws {
        let frame = ByteBuffer(bytes: (0..<count).map { UInt8(truncatingIfNeeded: $0) })
        var out = try sent([frame, ByteBuffer(bytes: [7])])
        #expect(out.readInteger(as: UInt32.self) == UInt32(count))
        #expect(out.readSlice(length: count) == frame)
        #expect(out == ByteBuffer(bytes: [0, 0, 0, 1, 7]))
    }

    @Test("A frame is its length in four bytes, the most significant first, and that many bytes")
    func layout() throws {
        let out = try sent([Message.roundEnd(1).encoded(), Message.commit.encoded()])
        #expect(GoldenValues.hex(out) == "0000000514000000010000000116")
        let (frames, rest) = try decode("00000005 1400000001 00000001 16 00000002 17", limit: 5)
        #expect(frames == ["1400000001", "16"] && rest == 5)
        #expect(try decode("00000100" + String(repeating: "77", count: 256), limit: 256).frames.first?.count == 512)
    }

    @Test(
        "A frame of no bytes, and one beyond the limit, is refused before it has come",
        arguments: ["00000000", "00000006"])
    func refused(_ hex: String) {
        let error = #expect(throws: PeerError.self) { try decode(hex, limit: 5) }
        guard case .malformed? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("A record of TLS is told from a frame", arguments: ["16030100", "15030300"])
    func tls(_ hex: String) {
        let error = #expect(throws: PeerError.self) { try decode(hex, limit: 5) }
        guard case .handshake? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("The limits of each phase are those of the last release")
    func limits() {
        #expect(PeerConnection.openingFrame == 8192)
        #expect(PeerConnection.ordinaryFrame == 2_097_152)
        #expect(PeerConnection.maximumFrame == 33_555_456)
    }

    @Test("The longest opening fits the frame that strangers may send")
    func longestOpening() {
        let name = String(repeating: "x", count: ExportName.maximumLength)
        let hello = Message.hello(Hello(purpose: .bulk, migration: MigrationID(), isCommitted: true, export: name))
        #expect(hello.encoded().readableBytes <= PeerConnection.openingFrame)
    }
}
