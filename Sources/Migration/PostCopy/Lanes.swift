import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import Peer

/// The destination's ends of the two flows of one disk: whatever connection carries them now.
final class Lanes: Sendable {
    /// What is told of a lane.
    enum Event: Sendable {
        /// With what the source can do.
        case up(LaneKind, ProtocolSupport.Capabilities)
        case down(LaneKind)
    }

    /// Who hears of a lane, and takes its messages one after the other.
    struct Listener: Sendable {
        let event: @Sendable (Event) -> Void
        let message: @Sendable (LaneKind, Message) async throws -> Void
    }

    private enum Outgoing: Sendable {
        case one(Message)
        case each(@Sendable () -> Message?)
    }

    private struct Lane {
        var queue: AsyncStream<Outgoing>.Continuation?
        var connection: PeerConnection?
        var capabilities: ProtocolSupport.Capabilities = []
        var ended: [CheckedContinuation<Void, Never>] = []
    }

    private struct State {
        var lanes: [LaneKind: Lane] = [:]
        var listener: Listener?
        var lastProblem: String?
    }

    private let state = NIOLockedValueBox(State())

    /// Queues a message on a lane; lost where the lane is down.
    func send(_ message: Message, on kind: LaneKind) {
        send(.one(message), on: kind)
    }

    /// Queues messages on a lane; lost where the lane is down.
    /// - Parameter next: makes one when the one before has been sent, by whoever sends; nil behind the last.
    func send(each next: @escaping @Sendable () -> Message?, on kind: LaneKind) { send(.each(next), on: kind) }

    private func send(_ outgoing: Outgoing, on kind: LaneKind) {
        state.withLockedValue { _ = $0.lanes[kind]?.queue?.yield(outgoing) }
    }

    /// Replaces who hears of the lanes, who is told of those that are up already.
    func listen(_ listener: Listener) {
        let up = state.withLockedValue { state in
            state.listener = listener
            return state.lanes.filter { $0.value.queue != nil }
        }
        for (kind, lane) in up { listener.event(.up(kind, lane.capabilities)) }
    }

    /// Notes why a lane has failed.
    /// - Returns: whether that is not why one failed before.
    func note(problem: String) -> Bool {
        state.withLockedValue { state in
            defer { state.lastProblem = problem }
            return state.lastProblem != problem
        }
    }

    /// Ends the connections.
    func close() {
        state.withLockedValue { state in
            state.listener = nil
            for lane in state.lanes.values { lane.connection?.close() }
        }
    }

    /// Carries a lane over a connection until that ends. An older connection of the lane is closed, and has ended before
    /// this one begins.
    /// - Parameters:
    ///   - capabilities: the source's.
    ///   - budget: what long messages are taken from, while they come and are dealt with.
    /// - Throws: why it ended before the source had had enough; the connection is then still open, to say so.
    func run(
        _ kind: LaneKind, _ connection: PeerConnection, _ capabilities: ProtocolSupport.Capabilities,
        budget: ByteBudget, _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        await replace(kind)
        let (stream, queue) = AsyncStream.makeStream(of: Outgoing.self)
        // An answer to a read of a client may be long; what comes in bulk is not.
        connection.allowOrdinaryFrames()
        if kind == .demand { connection.announceLongFrames() }
        let owed = NIOLockedValueBox(LongAnswers())
        let listener = state.withLockedValue { state in
            state.lanes[kind, default: Lane()].connection = connection
            state.lanes[kind]!.queue = queue
            state.lanes[kind]!.capabilities = capabilities
            return state.listener
        }
        listener?.event(.up(kind, capabilities))
        let sending = Task {
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
        end(kind)
        if let problem { throw problem }
    }

    /// Takes messages until the source ends the connection, or `body` returns false. A long one comes only where a read is
    /// owed it, once the budget has room, which it keeps until `body` has returned.
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

    private func replace(_ kind: LaneKind) async {
        while let old = state.withLockedValue({ $0.lanes[kind]?.connection }) {
            old.close()
            await withCheckedContinuation { continuation in
                let isOver = state.withLockedValue { state in
                    guard state.lanes[kind]?.connection != nil else { return true }
                    state.lanes[kind]!.ended.append(continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        }
    }

    private func end(_ kind: LaneKind) {
        // Down before the next connection can be up.
        let listener = state.withLockedValue { state in
            state.lanes[kind]?.queue = nil
            return state.listener
        }
        listener?.event(.down(kind))
        let waiters = state.withLockedValue { state in
            defer { state.lanes[kind] = nil }
            return state.lanes[kind]?.ended ?? []
        }
        for waiter in waiters { waiter.resume() }
    }
}
