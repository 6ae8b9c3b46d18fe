import Migration

/// A migration that was waited for has failed.
struct EndedMigration: Error, CustomStringConvertible {
    let past: PastMigration

    /// Message for the user, in one line.
    var description: String {
        "the migration of \(past.export) to \(past.destination) has ended: \(past.problem ?? past.state)"
    }
}
