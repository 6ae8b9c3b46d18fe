import MigrationCore

extension IncomingRecord {
    /// The names of records of disks that are here, or come into a new image.
    static let prefix = "incoming"
    /// The names of records of disks that come back into an image of the node.
    static let returningPrefix = "returning"

    /// The parts of the record by which `ArrivalMachine` decides.
    var arrival: ArrivalRecord {
        ArrivalRecord(
            migration: migration, export: export, size: size, isCommitted: phase == .active, isReturn: isReturn,
            supersedes: supersedes, known: known)
    }
}
