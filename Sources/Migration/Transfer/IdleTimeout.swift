import NIOConcurrencyHelpers
import Peer

/// Closes a connection on which nothing comes: who asks for nothing must not keep the place of one who does. To be ended by
/// whoever made it.
final class IdleTimeout: Sendable {
    private struct State {
        var limit: Duration
        /// Nil while it does not wait.
        var deadline: ContinuousClock.Instant?
        /// Bytes that had come when the deadline was set.
        var received: UInt64
        var task: Task<Void, any Error>?
        var isOver = false
    }

    private let connection: PeerConnection
    private let bytesCount: Bool
    private let state: NIOLockedValueBox<State>

    /// Begins to wait.
    /// - Parameter bytesCount: waits again as long as bytes come, be they a part of a message.
    init(_ limit: Duration, for connection: PeerConnection, bytesCount: Bool = false) {
        self.connection = connection
        self.bytesCount = bytesCount
        state = NIOLockedValueBox(State(limit: limit, received: 0))
        renew()
    }

    /// Something has come; waits as long again for the next.
    /// - Parameter limit: replaces the one before.
    func renew(_ limit: Duration? = nil) {
        let received = connection.traffic.received
        state.withLockedValue { state in
            guard !state.isOver else { return }
            if let limit, limit < state.limit {
                // It sleeps for longer.
                state.task?.cancel()
                state.task = nil
            }
            state.limit = limit ?? state.limit
            state.deadline = .now + state.limit
            state.received = received
            if state.task == nil { state.task = Task { try await watch() } }
        }
    }

    /// Does not wait until `renew`.
    func pause() { state.withLockedValue { $0.deadline = nil } }

    /// Waits no more.
    func end() {
        state.withLockedValue { state in
            state.isOver = true
            state.task?.cancel()
            state.task = nil
        }
    }

    /// One task for all that comes: it looks again when it wakes.
    private func watch() async throws {
        while let deadline = next() { try await Task.sleep(until: deadline) }
    }

    /// The moment at which to look again; nil where there is nothing more to wait for.
    private func next() -> ContinuousClock.Instant? {
        let received = connection.traffic.received
        return state.withLockedValue { state in
            // A task that was cancelled has been replaced.
            guard !Task.isCancelled else { return nil }
            guard let deadline = state.deadline else {
                state.task = nil
                return nil
            }
            if deadline > .now { return deadline }
            guard bytesCount, received != state.received else {
                state.task = nil
                connection.close()
                return nil
            }
            state.received = received
            state.deadline = .now + state.limit
            return state.deadline
        }
    }
}
