import Migration
import NIOConcurrencyHelpers

/// Sends a migration's progress to one client. A slow reader gets fewer messages, so memory stays constant.
final class ProgressMessages: Sendable {
    private let isSending = NIOLockedValueBox(false)
    private let send: @Sendable (MigrationProgress) async -> Void

    init(send: @escaping @Sendable (MigrationProgress) async -> Void) {
        self.send = send
    }

    /// Sends the message, unless the previous one is still being sent.
    func offer(_ progress: MigrationProgress) {
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
