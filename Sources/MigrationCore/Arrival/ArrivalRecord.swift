import MigrationProtocol

/// The parts of a disk's durable record at the destination that decide what may be done with the disk.
package struct ArrivalRecord: Equatable, Sendable {
    package let migration: MigrationID
    package let export: String
    /// Bytes.
    package let size: UInt64
    /// The source has given the disk away: it said so, or an earlier life of this node has recorded it.
    package internal(set) var isCommitted: Bool
    /// The disk goes into an image of the node's own, which stays whatever happens to the migration.
    package let isReturn: Bool
    /// The migration by which that image moved away from here; nil for another image, and in old records.
    package let supersedes: MigrationID?
    /// All migrations by which sources may forward here, with `migration`.
    package let known: [MigrationID]

    package init(
        migration: MigrationID, export: String, size: UInt64, isCommitted: Bool, isReturn: Bool,
        supersedes: MigrationID? = nil, known: [MigrationID]
    ) {
        assert(known.contains(migration))
        self.migration = migration
        self.export = export
        self.size = size
        self.isCommitted = isCommitted
        self.isReturn = isReturn
        self.supersedes = supersedes
        self.known = known
    }
}
