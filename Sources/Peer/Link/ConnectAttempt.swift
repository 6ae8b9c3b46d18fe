import NIOConcurrencyHelpers
import NIOCore

/// A connection that is being made, and may be given up before the other side has answered.
final class ConnectAttempt: Sendable {
    private struct State {
        var isCancelled = false
        var channels: [any Channel] = []
    }

    private let state = NIOLockedValueBox(State())

    /// Adds a socket that may become the connection: there is one for each address of a name.
    func use(_ channel: any Channel) {
        let isCancelled = state.withLockedValue { state in
            if !state.isCancelled { state.channels.append(channel) }
            return state.isCancelled
        }
        if isCancelled { channel.close(promise: nil) }
    }

    /// Gives the attempt up, and closes its sockets.
    func cancel() {
        let channels = state.withLockedValue { state in
            state.isCancelled = true
            defer { state.channels = [] }
            return state.channels
        }
        for channel in channels { channel.close(promise: nil) }
    }
}
