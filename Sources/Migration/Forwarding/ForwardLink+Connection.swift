import Block
import Glibc
import MigrationCore
import MigrationProtocol
import NIOCore
import Peer
import PeerModel

/// One connection of a link, for as long as it lasts.
extension ForwardLink {
    func serve(_ connection: PeerConnection, from destination: PeerAddress) async throws {
        let isCommitted = state.withLockedValue { state in
            state.connection = connection
            state.hasEnded = false
            return state.isCommitted
        }
        let hello = Hello(purpose: .forward, migration: migration, isCommitted: isCommitted, export: export)
        connection.announceLongFrames()
        let asked = ContinuousClock.now
        var frames = connection.inbound.makeAsyncIterator()
        let welcome = try await connection.greet(hello, &frames)
        _ = try ProtocolSupport.agreement(source: .own, destination: welcome.support)
        let opening = state.withLockedValue { state -> ([ForwardRequest], [MigrationID]?)? in
            // All that was sent there has been answered, and later requests may be for its successor.
            guard state.destination == destination, !state.requests.hasLeft else { return nil }
            state.roundTrip = asked.duration(to: .now)
            state.takesIntroductions = welcome.support.capabilities.contains(.successors)
            let first = countLosses(&state) {
                $0.connected(boot: welcome.boot, isCommitted: isCommitted)
            }
            return (first, state.takesIntroductions ? state.introduction?.migrations : nil)
        }
        guard let (first, known) = opening else { throw PeerError.cut }
        if let known { try await connection.send(Message.introduce(known).encoded()) }
        async let sending: Void = send(first, isCommitted, over: connection)
        do {
            frames: while let frame = try await connection.nextFrame(&frames) {
                switch try Message(frame: frame) {
                case .answer(let answer):
                    // Only a node that serves the disk answers.
                    confirmActive()
                    take(answer)
                    if let flush = state.withLockedValue({ $0.requests.lastFlushIfDue() }) {
                        try await connection.send(Message.request(flush).encoded())
                    }
                case .introduced: introduced(at: destination)
                case .successor(let successor): heard(successor, from: destination)
                default: break frames
                }
            }
        } catch {}
        state.withLockedValue { state in
            state.hasEnded = true
            state.endQueue()
        }
        connection.close()
        try await sending
    }

    /// Sends the repeated changes first, and the clients' requests once these are answered.
    private func send(
        _ first: [ForwardRequest], _ isCommitted: Bool, over connection: PeerConnection
    ) async throws {
        for request in first { try await connection.send(Message.request(request).encoded()) }
        await state.wait { $0.requests.isReady || $0.hasEnded }
        guard state.withLockedValue({ $0.requests.isReady }) else { return }
        guard let ids = state.withLockedValue({ $0.openQueue() }) else { throw PeerError.cut }
        if isCommitted { confirmActive() }
        try await send(ids, over: connection)
    }

    private func send(_ ids: AsyncStream<UInt64>, over connection: PeerConnection) async throws {
        for await id in ids {
            guard let isChange = state.withLockedValue({ $0.pending[id]?.kind.isChange }) else { continue }
            if isChange { try await makeRoom(connection) }
            // Otherwise the request has ended, or this connection ends and the next one sends what has no answer.
            guard let remote = state.withLockedValue({ $0.leaves(id) }) else { continue }
            try await connection.send(Message.request(remote).encoded())
        }
    }

    /// Changes the queue, and counts the losses that it finds before any client is answered.
    private func countLosses<Result>(_ state: inout State, _ work: (inout ForwardQueue) -> Result) -> Result {
        let before = state.requests.losses
        defer { if state.requests.losses != before { for count in losses { count.increment() } } }
        return work(&state.requests)
    }

    /// Waits until another change may be kept.
    /// - Throws: `PeerError.cut` if the connection ends before that; `CancellationError`.
    private func makeRoom(_ connection: PeerConnection) async throws {
        let (flush, isFull) = state.withLockedValue { ($0.requests.flushIfDue(), $0.requests.isFull) }
        if let flush { try await connection.send(Message.request(flush).encoded()) }
        guard isFull else { return }
        try await state.waitUnlessCancelled { !$0.requests.isFull || $0.hasEnded }
        if state.withLockedValue({ $0.hasEnded }) { throw PeerError.cut }
    }

    private func take(_ answer: ForwardAnswer) {
        let (ended, isLast) = state.withLockedValue { state -> ((AsyncRequest, CInt)?, Bool) in
            switch countLosses(&state, { $0.answered(answer.id, error: answer.error) }) {
            case .nothing, .ready, .left: break
            // The requests that were held back are sent on the next connection.
            case .stays: state.connection?.close()
            case .ended(let id, let error):
                guard let request = state.pending.removeValue(forKey: id) else { break }
                return ((request, error), state.isRetired && state.pending.isEmpty)
            }
            return (nil, false)
        }
        defer { if isLast { stop() } }
        guard let (request, error) = ended else { return }
        guard request.kind == .read, error == 0 else { return request.finish(error) }
        guard answer.payload.readableBytes == request.buffer.count else { return request.finish(EIO) }
        answer.payload.withUnsafeReadableBytes { request.buffer.copyMemory(from: $0) }
        request.finish(0)
    }
}

extension ForwardLink.State {
    /// Directs new requests into the current connection's queue, behind those without an answer.
    /// - Returns: nil if the connection has ended: nobody would finish the queue.
    mutating func openQueue() -> AsyncStream<UInt64>? {
        guard !hasEnded else { return nil }
        let (stream, continuation) = AsyncStream.makeStream(of: UInt64.self)
        for id in requests.unanswered { continuation.yield(id) }
        queue = continuation
        problem = nil
        return stream
    }

    /// Directs new requests to the next connection.
    mutating func endQueue() {
        queue?.finish()
        queue = nil
    }
}
