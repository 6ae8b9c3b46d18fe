import Migration
import NIOConcurrencyHelpers

/// The migrations of a guest's disks: the latest attempt, also after its end. Any thread may use it.
final class LatestMigrations: Sendable {
    private let migrations: NIOLockedValueBox<[SourceMigration]>

    /// Begins with the first attempt.
    init(_ first: GuestMigration) { migrations = NIOLockedValueBox(first.disks) }

    /// Sets the latest attempt.
    func set(_ attempt: GuestMigration) { migrations.withLockedValue { $0 = attempt.disks } }

    /// Returns the migrations, at least one.
    @Sendable func current() -> [SourceMigration] { migrations.withLockedValue { $0 } }
}
