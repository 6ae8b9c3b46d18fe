import MigrationProtocol
import NIOCore
import NIOPosix
import Peer

/// The destination's messages, one after the other. A word that can come at any moment is passed on as soon as it is
/// there, whoever waits for what.
struct SourceInbox {
    /// Messages that may wait to be taken; an honest destination has no more answers to give.
    private static let limit = 2 * ManifestExchange.mostSegments

    private var messages: AsyncThrowingStream<Message, any Error>.AsyncIterator
    private let pump: Task<Void, Never>

    /// - Parameter onSwitch: somebody at the destination wants to write to the disk.
    init(connection: PeerConnection, link: SourceLink, onSwitch: @escaping @Sendable () -> Void) {
        let (stream, continuation) = AsyncThrowingStream.makeStream(
            of: Message.self, bufferingPolicy: .bufferingOldest(Self.limit))
        messages = stream.makeAsyncIterator()
        pump = Task {
            do {
                for try await frame in connection.inbound {
                    let message = try Message(frame: frame)
                    link.received(message, frameLength: frame.readableBytes)
                    if message == .postcopy(.switchNow) {
                        onSwitch()
                    } else if case .dropped = continuation.yield(message) {
                        throw MigrationError.unexpected("more messages than there are questions")
                    }
                }
                continuation.finish(throwing: PeerError.cut)
            } catch {
                continuation.finish(throwing: error)
            }
        }
    }

    /// Nothing will be taken any more. On return nothing uses the connection for this any more.
    func stop() async {
        pump.cancel()
        await pump.value
    }

    /// The next message.
    /// - Throws: where the link is cut, or the destination says that it has given up.
    mutating func next() async throws -> Message {
        guard let message = try await messages.next() else { throw PeerError.cut }
        switch message {
        case .refused(let reason): throw MigrationError.refused(reason)
        case .failed(let reason): throw MigrationError.peerFailed(reason)
        default: return message
        }
    }

    /// Why an operation on the link failed: the destination may have said it before it closed.
    mutating func explain(_ error: any Error) async -> any Error {
        switch error {
        case PeerError.handshake, PeerError.malformed, PeerError.nbdServer: return error
        default: break
        }
        guard error is ChannelError || error is IOError || error is PeerError || error is CancellationError
        else {
            return error
        }
        // A destination that gave up waits a moment for its word to be heard; one that is gone ends the stream.
        do {
            while true { _ = try await next() }
        } catch let reason as MigrationError {
            return reason
        } catch PeerError.nbdServer(let address) {
            return PeerError.nbdServer(address)
        } catch PeerError.handshake(let reason) {
            // A destination hears who we are only after it has told us who it is, and may then say no.
            return PeerError.handshake(reason)
        } catch {
            return PeerError.cut
        }
    }
}
