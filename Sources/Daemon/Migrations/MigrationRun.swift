import Migration

/// A migration from this node, with all its attempts.
struct MigrationRun {
    let exports: [NodeExport]
    /// Names under which the ends of its disks are remembered.
    let names: [String]
    let task: Task<[MigrationReport], any Error>
    /// The guest's memory; nil if only disks move.
    var memory: GuestMemoryRun?

    /// Cancels the migration, unless the disks have been switched over.
    /// - Returns: False if they have.
    func cancel() -> Bool { end { $0.cancel() } }

    /// Interrupts the migration for the next start of this node, unless the disks have been switched over.
    /// - Returns: False if they have.
    func suspend() -> Bool { end { $0.suspend() } }

    private func end(_ order: (SourceMigration) -> Bool) -> Bool {
        // Disks of a group share one outcome, so one success is enough.
        guard exports.contains(where: { $0.migration.map(order) == true }) else { return false }
        // Without a connection there is no peer to tell, and the next attempt may be a long way off.
        if !exports.contains(where: { $0.migration?.isConnected == true }) { task.cancel() }
        return true
    }
}
