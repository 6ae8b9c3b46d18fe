import MigrationProtocol
import NIOCore
import Peer

extension PeerConnection {
    /// The next frame, one long one at a time; nil if the peer has ended the connection.
    func nextFrame(
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws -> ByteBuffer? {
        while let frame = try await frames.next() {
            if frame.readableBytes > 0 { return frame }
            takeLongFrame()
        }
        return nil
    }

    /// Sends the hello of a connection, and waits for the answer.
    /// - Throws: `MigrationError` if the peer refuses; if the link fails.
    func greet(
        _ hello: Hello, _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws -> Welcome {
        try await send(Message.hello(hello).encoded())
        guard let frame = try await frames.next() else { throw PeerError.cut }
        switch try Message(frame: frame) {
        case .welcome(let welcome): return welcome
        case .refused(let reason), .refusedForRoom(let reason): throw MigrationError.refused(reason)
        default: throw MigrationError.unexpected("no welcome")
        }
    }
}
