import NIOConcurrencyHelpers
import Peer

/// Closes a connection on which nothing comes: a peer that asks for nothing must not keep the place of one that does. Its maker
/// must call `end`.
final class IdleTimeout: Sendable {
    private struct State {
        var limit: Duration
        /// nil while it does not wait.
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
    /// - Parameter bytesCount: any bytes count as a sign of life, even a part of a message.
    init(_ limit: Duration, for connection: PeerConnection, bytesCount: Bool = false) {
        self.connection = connection
        self.bytesCount = bytesCount
        state = NIOLockedValueBox(State(limit: limit, received: 0))
        renew()
    }

    /// Waits as long again: a message has come.
    /// - Parameter limit: replaces the one before.
    func renew(_ limit: Duration? = nil) {
        let received = connection.traffic.received
        state.withLockedValue { state in
            guard !state.isOver else { return }
            if let limit, limit < state.limit {
                // The task sleeps past the new deadline.
                state.task?.cancel()
                state.task = nil
            }
            state.limit = limit ?? state.limit
            state.deadline = .now + state.limit
            state.received = received
            if state.task == nil { state.task = Task { try await watch() } }
        }
    }

    /// Stops waiting until `renew`.
    func pause() { state.withLockedValue { $0.deadline = nil } }

    /// Stops waiting for good.
    func end() {
        state.withLockedValue { state in
            state.isOver = true
            state.task?.cancel()
            state.task = nil
        }
    }

    /// Sleeps until the deadline, which messages move on meanwhile, and looks again.
    private func watch() async throws {
        while let deadline = next() { try await Task.sleep(until: deadline) }
    }

    /// The moment at which to look again; nil if there is nothing more to wait for.
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
