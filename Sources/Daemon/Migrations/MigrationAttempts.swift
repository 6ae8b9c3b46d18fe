import Logging
import Migration
import MigrationProtocol
import Peer

/// Runs a migration to its end, with a new attempt whenever the link was cut.
struct MigrationAttempts: Sendable {
    private static let firstRetry = Duration.milliseconds(200)
    private static let longestRetry = Duration.seconds(5)

    /// For each disk its export, then the other exports of its image.
    let disks: [[NodeExport]]
    let logger: Logger
    /// Called with each further attempt, before it runs.
    let replaced: @Sendable (GuestMigration) -> Void
    /// Called for each disk that has moved.
    let moved: @Sendable (NodeExport) async -> Void
    /// Remembers how the migration has ended.
    let outcomes: MigrationOutcomes

    /// Runs attempts on the node's actor, so that no command comes between the end of one and the next one.
    /// - Parameter first: The first attempt, for which the exports are claimed.
    /// - Returns: A report for each disk.
    /// - Throws: The error of the last attempt; the exports are then served here as before.
    func run(_ first: GuestMigration, on node: isolated Node) async throws -> [MigrationReport] {
        let names = disks.map(\.[0].name).joined(separator: ", ")
        let destination = first.disks[0].destination
        logger.info("migrating \(names) to \(destination)")
        var migration = first
        var isSuspended = false
        defer { release(migration, isSuspended: isSuspended) }
        var delay = Self.firstRetry
        while true {
            do {
                let reports = try await attempt(migration)
                logger.info("\(names): moved to \(destination); clients here are forwarded there")
                outcomes.record(reports, destination: "\(destination)")
                for exports in disks { await moved(exports[0]) }
                return reports
            } catch MigrationError.suspended {
                logger.notice("the migration of \(names) to \(destination) goes on when this node is started again")
                isSuspended = true
                throw MigrationError.suspended
            } catch {
                guard let next = migration.again() else {
                    logger.warning("the migration of \(names) to \(destination) has ended: \(error.plainReason)")
                    outcomes.record(error, disks: disks.count)
                    throw error
                }
                logger.warning("\(error.plainReason); the migration of \(names) goes on when the destination answers")
                // Replace the attempt in the same step on the node's actor: the failed one refuses commands from now on.
                for (exports, disk) in zip(disks, next.disks) {
                    for export in exports { export.replace(with: disk, because: error.plainReason) }
                }
                replaced(next)
                // A cancel must not wait for the end of the delay.
                await next.pause(atMost: delay)
                delay = min(delay * 2, Self.longestRetry)
                migration = next
            }
        }
    }

    private func attempt(_ migration: GuestMigration) async throws -> [MigrationReport] {
        let (disks, sources) = (disks, migration.disks)
        return try await migration.run(
            supplying: { place, link in for export in disks[place] { export.setSupply(link) } },
            forwarding: { place, link in for export in disks[place] { export.markMoved(by: link) } },
            finished: { place in for export in disks[place] { export.end(sources[place]) } })
    }

    /// Releases the exports after any end other than that of the process.
    /// - Parameter isSuspended: Whether the next start is to go on with the migration.
    private func release(_ migration: GuestMigration, isSuspended: Bool) {
        for (exports, disk) in zip(disks, migration.disks) {
            if isSuspended {
                // An end by order says nothing against the migration.
                try? exports[0].records?.countResumes(of: KeptMigration.self) { $0.settled() }
            } else {
                exports[0].forgetRequest(logger)
            }
            for export in exports {
                export.end(disk)
                // Changes of the image during the migration can take effect now.
                export.watcher?.look { _ in }
            }
        }
    }
}
