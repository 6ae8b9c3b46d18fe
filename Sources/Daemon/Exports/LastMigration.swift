import Migration

/// The last migration of an export, without its report.
public struct LastMigration: Codable, Sendable {
    /// The end in one word: a `MigrationOutcome`.
    public var state: String
    /// Address of the destination.
    public var destination: String
    /// Time of the end, in ISO 8601 and UTC.
    public var ended: String
    /// Reason of a failure, in one line; nil for none.
    public var problem: String?

    init(_ past: PastMigration) {
        (state, destination, ended, problem) = (past.state, past.destination, past.ended, past.problem)
    }
}
