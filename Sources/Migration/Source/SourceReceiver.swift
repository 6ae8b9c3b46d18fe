import MigrationCore
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer

/// Receives the destination's messages. The machine judges each as soon as it comes, and the driver gets their meanings
/// in order.
struct SourceReceiver {
    /// The most messages that may wait; an honest destination has no more answers to give.
    private static let limit = 2 * ManifestExchange.mostSegments

    /// Used by the task that takes the messages.
    struct Judge: Sendable {
        /// `SourceMachine.receive`.
        let receive: @Sendable (Message) throws -> SourceMachine.Reception
        /// Somebody at the destination wants to write to the disk.
        var switchOver: @Sendable () -> Void = {}
        /// The destination has answered a question for a prefix, which no step waits for.
        var prefix: @Sendable (PrefixAnswer) -> Void = { _ in }
        /// No more messages come.
        var ended: @Sendable () -> Void = {}
    }

    private var receptions: AsyncThrowingStream<SourceMachine.Reception, any Error>.AsyncIterator
    private let pump: Task<Void, Never>

    init(connection: PeerConnection, link: SourceLink, judge: Judge) {
        let (stream, continuation) = AsyncThrowingStream.makeStream(
            of: SourceMachine.Reception.self, bufferingPolicy: .bufferingOldest(Self.limit))
        receptions = stream.makeAsyncIterator()
        pump = Task {
            do {
                for try await frame in connection.inbound {
                    let message = try Message(frame: frame)
                    link.received(message, frameLength: frame.readableBytes)
                    switch try judge.receive(message) {
                    case .nothing: break
                    case .switchOver: judge.switchOver()
                    case .prefix(let answer): judge.prefix(answer)
                    case .lost: continuation.finish(throwing: PeerError.cut)
                    case let reception:
                        if case .dropped = continuation.yield(reception) {
                            throw MigrationError.unexpected("more messages than there are questions")
                        }
                    }
                }
                continuation.finish(throwing: PeerError.cut)
            } catch {
                continuation.finish(throwing: error)
                // The driver may be sending, or waiting for something else.
                if error is MigrationError { link.close() }
            }
            judge.ended()
        }
    }

    /// Nothing will be taken any more. On return nothing uses the connection for this any more.
    func stop() async {
        pump.cancel()
        await pump.value
    }

    /// The meaning of the next message.
    /// - Throws: where the link is cut, the destination says that it has given up, or a message was out of turn.
    mutating func next() async throws -> SourceMachine.Reception {
        guard let reception = try await receptions.next() else { throw PeerError.cut }
        return reception
    }

    /// The step that the next message begins.
    mutating func nextStep() async throws -> SourceMachine.Step {
        guard case .next(let step) = try await next() else { preconditionFailure("this step ends with its answer") }
        return step
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
        // A destination that gave up waits a moment until its reason is heard; one that is gone ends the stream.
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
