import Migration
import MigrationProtocol

/// Commands that wait for migrations.
extension Node {
    /// Waits for the end of a migration of an export, in either direction. If none runs, the latest one counts.
    /// - Parameters:
    ///   - name: Nil for all migrations from this node that run now.
    ///   - isSwitchEnough: Whether to return at the switchover, when blocks may be missing at the destination.
    /// - Returns: The reports of the migrations from this node that are complete.
    /// - Throws: `EndedMigration` if one has failed; `NodeError` if there is none; `CancellationError`.
    func wait(for name: String?, isSwitchEnough: Bool) async throws -> [MigrationReport] {
        guard let name else {
            let running = runs.running
            for run in running { try await runs.waitUntilEnded(run.number) }
            return try running.flatMap { $0.run.names }.compactMap { try outcome(of: $0) }
        }
        if let export = table.find(name).flatMap({ exports[$0.description.name] }) {
            return try await wait(for: export, isSwitchEnough: isSwitchEnough)
        }
        if let registry, try await registry.waitForArrival(of: name, whole: !isSwitchEnough) { return [] }
        if let report = try outcome(of: name) { return [report] }
        _ = try find(name)
        throw NodeError.notMigrating(name)
    }

    private func wait(for export: NodeExport, isSwitchEnough: Bool) async throws -> [MigrationReport] {
        if let (number, run) = runs.running(export) {
            if isSwitchEnough {
                try await export.waitUntilMoved(orNot: runs, number)
                if export.hasMoved { return [] }
            }
            try await runs.waitUntilEnded(number)
            return try run.names.compactMap { try outcome(of: $0) }
        }
        if let problem = export.putAside { throw NodeError.unusable("\(export.name): \(problem)") }
        if let onward = export.onward {
            if !isSwitchEnough { try await onward.supply?.waitForRelease() }
            return history.all.latest(of: export.name)?.report.map { [$0] } ?? []
        }
        if let registry, await registry.isComing(export.name) {
            // A disk that came no more has no export.
            guard try await registry.waitForArrival(of: export.name, whole: !isSwitchEnough) else {
                throw NodeError.notMigrating(export.name)
            }
            return []
        }
        if let report = try outcome(of: export.name) { return [report] }
        if await registry?.hasServed(export.name) == true { return [] }
        throw NodeError.notMigrating(export.name)
    }

    /// Returns the report of the latest migration of an export; nil if none is known.
    /// - Throws: `EndedMigration` if it has failed.
    private func outcome(of name: String) throws -> MigrationReport? {
        guard let past = history.all.latest(of: name) else { return nil }
        guard past.state == MigrationOutcome.complete.rawValue else { throw EndedMigration(past: past) }
        return past.report
    }

    /// The end of a migration in one word, for the error of a command.
    static func outcome(of error: any Error) -> MigrationOutcome {
        if let none = error as? NoDestination { return none.outcome }
        guard let ended = error as? EndedMigration else { return MigrationOutcome(of: error) }
        return MigrationOutcome(rawValue: ended.past.state) ?? .failed
    }
}
