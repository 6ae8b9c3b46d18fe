import NIOConcurrencyHelpers

/// Sends the progress of some work to one client. A slow reader gets fewer messages, so memory stays constant.
final class ProgressMessages<Progress: Sendable>: Sendable {
    private let isSending = NIOLockedValueBox(false)
    private let send: @Sendable (Progress) async -> Void

    init(send: @escaping @Sendable (Progress) async -> Void) {
        self.send = send
    }

    /// Sends the message, unless the previous one is still being sent.
    func offer(_ progress: Progress) {
        let isFree = isSending.withLockedValue { isSending in
            defer { isSending = true }
            return !isSending
        }
        guard isFree else { return }
        Task {
            await send(progress)
            isSending.withLockedValue { $0 = false }
        }
    }
}
