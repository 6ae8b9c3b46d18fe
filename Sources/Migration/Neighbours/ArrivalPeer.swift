import Logging
import MigrationProtocol
import NIOCore
import Peer
import PeerModel

/// The questions about one arriving disk to one other host of the site, over a connection of their own. Any thread may
/// use it. After a failure, or an answer that is late, it asks no more.
final class ArrivalPeer: Sendable {
    private struct State {
        var nextID: UInt32 = 0
        var waiting: Set<UInt32> = []
        var answers: [UInt32: Message] = [:]
        var isOver = false
    }

    let host: String
    private let state = WatchedValue(State())
    private let requests: AsyncStream<Message>.Continuation
    private let task: Task<Void, Never>

    /// Begins to connect.
    /// - Parameter ownHost: Name of this host, which the other one looks up in the site.
    init(host: String, address: PeerAddress, ownHost: String, transport: PeerTransport, logger: Logger) {
        self.host = host
        let (stream, requests) = AsyncStream<Message>.makeStream()
        self.requests = requests
        let state = state
        task = Task {
            do {
                try await PeerConnection.connect(to: address, on: transport) { connection in
                    try await ArrivalPeer.carry(stream, over: connection, as: ownHost, state)
                }
            } catch {
                logger.debug("blocks that arrive at the host '\(host)' can't be asked for: \(error)")
            }
            state.withLockedValue { $0.isOver = true }
        }
    }

    deinit { close() }

    /// Whether it may still answer.
    var isOpen: Bool { !state.withLockedValue { $0.isOver } }

    /// Ends the connection.
    func close() {
        requests.finish()
        task.cancel()
    }

    /// Sends a request and waits for its answer.
    /// - Parameter make: Makes the request with the given id.
    /// - Returns: Nil if no answer has come within the limit; the connection is ended then.
    func ask(atMost limit: Duration, _ make: (UInt32) -> Message) async -> Message? {
        let id = state.withLockedValue { state in
            state.nextID &+= 1
            state.waiting.insert(state.nextID)
            return state.nextID
        }
        requests.yield(make(id))
        await state.wait(until: { $0.answers[id] != nil || $0.isOver }, atMost: limit)
        let answer = state.withLockedValue { state in
            state.waiting.remove(id)
            return state.answers.removeValue(forKey: id)
        }
        if answer == nil { close() }
        return answer
    }

    private static func carry(
        _ requests: AsyncStream<Message>, over connection: PeerConnection, as ownHost: String,
        _ state: WatchedValue<State>
    ) async throws {
        var frames = connection.inbound.makeAsyncIterator()
        let hello = Hello(purpose: .neighbours, migration: MigrationID(), export: ownHost)
        let welcome = try await connection.greet(hello, &frames)
        guard welcome.support.capabilities.contains(.arrivals) else {
            throw MigrationError.refused("its release does not tell")
        }
        let sending = Task {
            for await request in requests { try await connection.send(request.encoded()) }
            connection.close()
        }
        defer { sending.cancel() }
        while let frame = try await frames.next() {
            let message = try Message(frame: frame)
            guard let id = message.arrivalID, state.withLockedValue({ $0.waiting.contains(id) }) else {
                throw MigrationError.unexpected("an answer that nobody has asked for")
            }
            state.withLockedValue { $0.answers[id] = message }
        }
    }
}

extension Message {
    /// The id of an answer about blocks that arrive; nil for other messages.
    fileprivate var arrivalID: UInt32? {
        switch self {
        case .arrivalAnswer(let answer): answer.id
        case .arrivalBytes(let answer): answer.id
        default: nil
        }
    }
}
