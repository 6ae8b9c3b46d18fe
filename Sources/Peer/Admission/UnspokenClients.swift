import NIOConcurrencyHelpers
import NIOCore
import PeerModel

/// Limits the clients of a local socket that have not yet sent a whole command, in number and time. A new client
/// beyond the limit displaces the oldest, so that silent clients can't keep others out. Any thread may use it.
public final class UnspokenClients: Sendable {
    /// Deadline of a client for its next command.
    public struct Wait: Sendable {
        fileprivate let number: UInt64
        fileprivate let deadline: Scheduled<Void>
    }

    private struct State {
        var clients: EvictingQueue<(number: UInt64, channel: any Channel)>
        var next: UInt64 = 0
    }

    private let patience: TimeAmount
    private let state: NIOLockedValueBox<State>

    /// Knows no client yet.
    /// - Parameters:
    ///   - limit: Clients at once, at least 1.
    ///   - patience: Time for each command.
    public init(limit: Int = 32, patience: TimeAmount = .seconds(10)) {
        state = NIOLockedValueBox(State(clients: EvictingQueue(limit: limit)))
        self.patience = patience
    }

    /// Starts a client's time for a command, and closes the oldest client if there are too many.
    /// - Returns: A value to pass to `end` after the command, or after the client has disconnected.
    public func begin(_ channel: any Channel) -> Wait {
        let (number, oldest) = state.withLockedValue { state in
            state.next += 1
            return (state.next, state.clients.append((state.next, channel))?.channel)
        }
        oldest?.close(promise: nil)
        let deadline = channel.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
        return Wait(number: number, deadline: deadline)
    }

    /// Stops a client's time: it has sent a command or disconnected.
    public func end(_ wait: Wait) {
        wait.deadline.cancel()
        state.withLockedValue { state in state.clients.removeAll { $0.number == wait.number } }
    }
}
