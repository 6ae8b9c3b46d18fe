import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import Peer

/// The destination's ends of the two channels of one disk, whichever connections carry them now. Any thread may call it.
final class PostCopyChannels: Sendable {
    /// A change of a channel.
    ///
    /// Turns ascend from one connection of a channel to the next. A new listener may hear of the end of a turn first
    /// (`ChannelOrder`).
    enum Event: Sendable {
        /// The channel carries messages; with the capabilities of the source.
        case up(PostCopyChannel, ProtocolSupport.Capabilities, turn: UInt64)
        case down(PostCopyChannel, turn: UInt64)
    }

    /// Hears of the channels, and takes the messages of each one after the other.
    struct Listener: Sendable {
        let event: @Sendable (Event) -> Void
        let message: @Sendable (PostCopyChannel, Message) async throws -> Void
    }

    private enum Outgoing: Sendable {
        case one(Message)
        case each(@Sendable () -> Message?)
    }

    /// A channel that is up.
    private struct Channel {
        let queue: AsyncStream<Outgoing>.Continuation
        let capabilities: ProtocolSupport.Capabilities
        let turn: UInt64
    }

    private struct State {
        var turns = ChannelTurns()
        var channels: [PostCopyChannel: Channel] = [:]
        /// Connections that carry a channel or wait for their turn.
        var connections: [UInt64: PeerConnection] = [:]
        var waiting: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextConnection: UInt64 = 0
        var nextTurn: UInt64 = 0
        var listener: Listener?
        var lastProblem: String?
    }

    private let state = NIOLockedValueBox(State())

    /// Queues a message on a channel; lost if the channel is down.
    func send(_ message: Message, on kind: PostCopyChannel) {
        send(.one(message), on: kind)
    }

    /// Queues messages on a channel; lost if the channel is down.
    /// - Parameter next: makes one when the one before has been sent, on any thread; nil behind the last.
    func send(each next: @escaping @Sendable () -> Message?, on kind: PostCopyChannel) { send(.each(next), on: kind) }

    private func send(_ outgoing: Outgoing, on kind: PostCopyChannel) {
        state.withLockedValue { _ = $0.channels[kind]?.queue.yield(outgoing) }
    }

    /// Replaces the listener, and tells the new one of the channels that are up.
    func listen(_ listener: Listener) {
        let up = state.withLockedValue { state in
            state.listener = listener
            return state.channels
        }
        for (kind, channel) in up { listener.event(.up(kind, channel.capabilities, turn: channel.turn)) }
    }

    /// Notes why a channel has failed.
    /// - Returns: whether that is another reason than the last time.
    func note(problem: String) -> Bool {
        state.withLockedValue { state in
            defer { state.lastProblem = problem }
            return state.lastProblem != problem
        }
    }

    /// Ends the connections that carry the channels.
    func close() {
        state.withLockedValue { state in
            state.listener = nil
            for connection in state.turns.current { state.connections[connection]?.close() }
        }
    }

    /// Carries a channel over a connection until that ends. An older connection of the channel is closed, and has ended
    /// before this one begins.
    /// - Parameters:
    ///   - capabilities: the source's.
    ///   - budget: the memory of long messages, while they come and are dealt with.
    /// - Throws: why it ended before the source had had enough; the connection is then still open, to say so.
    func run(
        _ kind: PostCopyChannel, _ connection: PeerConnection, _ capabilities: ProtocolSupport.Capabilities,
        budget: ByteBudget, _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        let number = await takeTurn(kind, connection)
        let (stream, queue) = AsyncStream.makeStream(of: Outgoing.self)
        // An answer to a read of a client may be long; what comes in bulk is not.
        connection.allowOrdinaryFrames()
        if kind == .demand { connection.announceLongFrames() }
        let owed = NIOLockedValueBox(LongAnswers())
        let (listener, turn) = state.withLockedValue { state in
            let turn = state.nextTurn
            state.nextTurn += 1
            state.channels[kind] = Channel(queue: queue, capabilities: capabilities, turn: turn)
            return (state.listener, turn)
        }
        listener?.event(.up(kind, capabilities, turn: turn))
        let sending = Task { try await Self.send(stream, over: connection, owed) }
        var problem: (any Error)?
        do {
            try await take(from: connection, owed, budget, &frames) { message in
                guard let listener = state.withLockedValue({ $0.listener }) else { return false }
                try await listener.message(kind, message)
                return true
            }
        } catch {
            problem = error
        }
        queue.finish()
        if problem == nil {
            connection.close()
            _ = try? await sending.value
        } else {
            // The source may wait for this side to read, and then takes nothing.
            sending.cancel()
        }
        end(kind, number, turn)
        if let problem { throw problem }
    }

    private static func send(
        _ stream: AsyncStream<Outgoing>, over connection: PeerConnection, _ owed: NIOLockedValueBox<LongAnswers>
    ) async throws {
        for await outgoing in stream {
            switch outgoing {
            case .one(let message):
                owed.withLockedValue { $0.sends(message) }
                try await connection.send(message.encoded())
            case .each(let next):
                while let message = next() { try await connection.send(message.encoded()) }
            }
        }
    }

    /// Receives messages until the source ends the connection, or `body` returns false. A long message comes only as
    /// the answer to a read. It waits for room in the budget, and keeps that room until `body` has returned.
    private func take(
        from connection: PeerConnection, _ owed: NIOLockedValueBox<LongAnswers>, _ budget: ByteBudget,
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
        _ body: (Message) async throws -> Bool
    ) async throws {
        let taker = BudgetTaker(budget)
        connection.whenClosed { taker.close() }
        var held = 0
        defer { taker.giveBack(held) }
        while let frame = try await frames.next() {
            if frame.readableBytes == 0 {
                let length = connection.waitingFrame
                guard owed.withLockedValue({ $0.isOwed(length) }) else {
                    throw MigrationError.unexpected("a message of \(length) bytes that no read asked for")
                }
                guard try await taker.acquire(length) else { throw PeerError.cut }
                held = length
                connection.takeLongFrame()
                continue
            }
            let message = try Message(frame: frame)
            owed.withLockedValue { $0.received(message) }
            guard try await body(message) else { return }
            taker.giveBack(held)
            held = 0
        }
    }

    // MARK: Turns

    /// Returns once the connection carries the channel.
    /// - Returns: its number.
    private func takeTurn(_ kind: PostCopyChannel, _ connection: PeerConnection) async -> UInt64 {
        let number = state.withLockedValue { state in
            defer { state.nextConnection += 1 }
            state.connections[state.nextConnection] = connection
            return state.nextConnection
        }
        await withCheckedContinuation { continuation in
            let actions = state.withLockedValue { state in
                state.waiting[number] = continuation
                return state.turns.came(number, for: kind)
            }
            perform(actions)
        }
        return number
    }

    private func end(_ kind: PostCopyChannel, _ number: UInt64, _ turn: UInt64) {
        // Down before the next connection can be up.
        let listener = state.withLockedValue { state in
            state.channels[kind] = nil
            return state.listener
        }
        listener?.event(.down(kind, turn: turn))
        let actions = state.withLockedValue { state in
            state.connections[number] = nil
            return state.turns.ended(number, of: kind)
        }
        perform(actions)
    }

    private func perform(_ actions: [ChannelTurns.Action]) {
        for action in actions {
            switch action {
            case .close(let number): state.withLockedValue { $0.connections[number] }?.close()
            case .begin(let number): state.withLockedValue { $0.waiting.removeValue(forKey: number) }?.resume()
            }
        }
    }
}
