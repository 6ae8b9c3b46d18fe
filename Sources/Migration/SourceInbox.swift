import NIOCore
import NIOPosix
import Peer

/// The destination's messages, one after the other.
struct SourceInbox {
    private var frames: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let link: SourceLink

    init(connection: PeerConnection, link: SourceLink) {
        frames = connection.inbound.makeAsyncIterator()
        self.link = link
    }

    /// The next message.
    /// - Throws: where the link is cut, or the destination says that it has given up.
    mutating func next() async throws -> Message {
        guard let frame = try await frames.next() else { throw PeerError.cut }
        let message = try Message(frame: frame)
        link.received(message, frameLength: frame.readableBytes)
        switch message {
        case .refused(let reason): throw MigrationError.refused(reason)
        case .failed(let reason): throw MigrationError.peerFailed(reason)
        default: return message
        }
    }

    /// Why an operation on the link failed: the destination may have said it before it closed.
    mutating func explain(_ error: any Error) async -> any Error {
        if case PeerError.handshake = error { return error }
        guard error is ChannelError || error is IOError || error is PeerError || error is CancellationError
        else {
            return error
        }
        // A destination that gave up waits a moment for its word to be heard; one that is gone ends the stream.
        do {
            while true { _ = try await next() }
        } catch let reason as MigrationError {
            return reason
        } catch PeerError.handshake(let reason) {
            // A destination hears who we are only after it has told us who it is, and may then say no.
            return PeerError.handshake(reason)
        } catch {
            return PeerError.cut
        }
    }
}
