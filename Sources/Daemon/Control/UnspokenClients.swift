import NIOConcurrencyHelpers
import NIOCore

/// The clients of a control socket that have not sent a whole command: there are few, and each has a limited time. Where one
/// more comes the oldest goes, so that those who say nothing can't keep out those who do.
final class UnspokenClients: Sendable {
    /// A client's time until it has sent a command.
    struct Wait: Sendable {
        fileprivate let number: UInt64
        fileprivate let deadline: Scheduled<Void>
    }

    private struct State {
        /// In the order in which they came.
        var clients: [(number: UInt64, channel: any Channel)] = []
        var next: UInt64 = 0
    }

    private let limit: Int
    private let patience: TimeAmount
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - limit: clients at once; at least 1.
    ///   - patience: of each.
    init(limit: Int = 32, patience: TimeAmount = .seconds(10)) {
        self.limit = limit
        self.patience = patience
    }

    /// A client may send a command from now on. Closes the oldest client where there are too many.
    /// - Returns: what `end` is to be called with once it has sent one, or has gone.
    func begin(_ channel: any Channel) -> Wait {
        let (number, oldest) = state.withLockedValue { state in
            state.next += 1
            state.clients.append((state.next, channel))
            return (state.next, state.clients.count > limit ? state.clients.removeFirst().channel : nil)
        }
        oldest?.close(promise: nil)
        let deadline = channel.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
        return Wait(number: number, deadline: deadline)
    }

    /// The client has sent a command, or has gone.
    func end(_ wait: Wait) {
        wait.deadline.cancel()
        state.withLockedValue { state in state.clients.removeAll { $0.number == wait.number } }
    }
}
