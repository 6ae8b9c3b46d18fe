import Migration

/// A migration away from this node, with all its attempts.
struct MigrationRun {
    let exports: [NodeExport]
    let task: Task<[MigrationReport], any Error>

    /// Gives it up, unless the disks have been handed over already.
    /// - Returns: false where they have.
    func cancel() -> Bool {
        // One is all of them.
        guard exports.contains(where: { $0.migration?.cancel() == true }) else { return false }
        // There is nobody to tell, and it may be waiting for a long time.
        if !exports.contains(where: { $0.migration?.isConnected == true }) { task.cancel() }
        return true
    }
}
