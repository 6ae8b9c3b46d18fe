import Migration
import NIOConcurrencyHelpers

/// Tells a client how far a migration is; one that does not read is told less often, and costs no more memory.
final class ProgressMessages: Sendable {
    private let isSending = NIOLockedValueBox(false)
    private let send: @Sendable (MigrationProgress) async -> Void

    init(send: @escaping @Sendable (MigrationProgress) async -> Void) {
        self.send = send
    }

    /// Sends it, unless the one before is still under way.
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
