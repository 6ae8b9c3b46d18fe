import Logging
import Migration
import NIOConcurrencyHelpers
import Peer

/// The migrations from a node that have ended, in memory and in the state directory. Any thread may use it.
final class MigrationHistory: Sendable {
    private struct State {
        var past = PastMigrations()
        /// The last queued write; each begins after the one before.
        var writing: Task<Void, Never>?
    }

    private let directory: StateDirectory
    /// Whether the record may be written: only by the node that has the state directory.
    private let isKept: Bool
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    /// Reads the record of earlier processes. A damaged one is reported, and is replaced at the next end of a migration.
    init(in directory: StateDirectory, isKept: Bool, logger: Logger) {
        self.directory = directory
        self.isKept = isKept
        self.logger = logger
        do {
            let past = try PastMigrations(from: directory)
            state.withLockedValue { $0.past = past }
        } catch {
            logger.warning("the reports of earlier migrations can't be shown: \(error.plainReason)")
        }
    }

    /// The migrations that have ended, the latest last.
    var all: PastMigrations { state.withLockedValue { $0.past } }

    /// Adds migrations that have just ended, and begins to record them. Nothing waits for the record, so that storage
    /// that hangs delays no answer.
    func add(_ ended: [PastMigration]) {
        state.withLockedValue { state in
            for migration in ended { state.past.add(migration) }
            guard isKept else { return }
            state.writing = Task { [previous = state.writing, self] in
                await previous?.value
                do {
                    try await BlockingWork.run { [self] in try all.write(to: directory) }
                } catch {
                    logger.warning("the report of a migration can't be recorded: \(error.plainReason)")
                }
            }
        }
    }

    /// Returns once all is recorded, or can't be.
    func finish() async { await state.withLockedValue { $0.writing }?.value }
}
