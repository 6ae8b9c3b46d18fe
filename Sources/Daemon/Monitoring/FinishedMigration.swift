import Foundation
import Migration

/// The report of a migration that has ended well, with the time of the end.
struct FinishedMigration: Sendable {
    let report: MigrationReport
    /// Name of the node that has the disk.
    let destination: String
    let end: Date
}
