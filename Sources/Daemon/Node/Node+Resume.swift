import Migration
import Peer

/// Migrations that were interrupted by the end of an earlier process.
extension Node {
    /// Resumes recorded migrations after a start.
    func resumeMigrations() async {
        // Without the lock, the migrations may be those of another running node.
        guard stateLock != nil else { return }
        let unserved = await registry?.unserved ?? [:]
        let groups = KeptMigrationGroup.all(of: exports.values) { export, error in
            logger.error("the interrupted migration of \(export.name) is not resumed: \(error.plainReason)")
        }
        for group in groups {
            if let late = group.missing.first(where: { waiting[$0] != nil || unserved[$0] != nil }) {
                for export in group.exports { export.setPutAside("waits for \(late), which is not offered yet") }
                logger.warning("the interrupted migration of \(group.list) waits for \(late), which is not offered yet")
                continue
            }
            guard group.isWhole else {
                for export in group.exports { export.forgetRequest(logger) }
                logger.warning("the interrupted migration of \(group.list) is not resumed: not all its disks are here")
                continue
            }
            await resume(group)
        }
    }

    private func resume(_ group: KeptMigrationGroup) async {
        do {
            if let problem = try group.begin() {
                for export in group.exports { export.setPutAside(problem) }
                logger.error("\(group.list): \(problem)")
                return
            }
            logger.notice("the migration of \(group.list) to \(group.command.destination) goes on")
            try await migrateDetached(group.command, isResumed: true)
            tasks.append(Task { await group.outlive() })
        } catch {
            // The failure did not end the process, so it must not count as an end.
            try? group.count { $0.settled() }
            logger.error("the interrupted migration of \(group.list) is not resumed: \(error.plainReason)")
        }
    }

    /// Drops a migration that was put aside, of the export and its group.
    /// - Returns: False if there was none.
    func dropPutAside(_ name: String) throws -> Bool {
        let export = try find(name)
        let groups = KeptMigrationGroup.all(of: exports.values) { _, _ in }
        guard let group = groups.first(where: { $0.exports.contains { $0 === export } }) else { return false }
        for export in group.exports {
            if let failure = export.forgetRequest(logger) {
                throw NodeError.cancelledButRecorded(export.name, reason: "\(failure)")
            }
            export.setPutAside(nil)
        }
        logger.notice("the migration of \(group.list) that was put aside is dropped")
        return true
    }
}
