import NIOConcurrencyHelpers

/// Tells the connection that brings a disk that a client wants to write to it before the switchover. It calls; a task that waited
/// for it, as for a `WatchedValue`, would have to be ended with each connection on which nobody ever writes.
final class ChangeSignal: Sendable {
    private struct State {
        var isRaised = false
        var listener: (@Sendable () -> Void)?
    }

    private let state = NIOLockedValueBox(State())

    func raise() {
        let listener = state.withLockedValue { state in
            defer { state.isRaised = true }
            return state.isRaised ? nil : state.listener
        }
        listener?()
    }

    /// Calls `listener` once: at once if the signal has been raised already.
    func listen(_ listener: @escaping @Sendable () -> Void) {
        let isRaised = state.withLockedValue { state in
            state.listener = listener
            return state.isRaised
        }
        if isRaised { listener() }
    }
}
