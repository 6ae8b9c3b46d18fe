import NIOConcurrencyHelpers

/// Says that somebody wants to write to a disk that has not been handed over, to whoever can do something about it now.
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

    /// Calls `listener` once: now, where it has been raised already.
    func listen(_ listener: @escaping @Sendable () -> Void) {
        let isRaised = state.withLockedValue { state in
            state.listener = listener
            return state.isRaised
        }
        if isRaised { listener() }
    }
}
