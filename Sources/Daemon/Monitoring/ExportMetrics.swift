import Monitoring

/// The metrics of exports as they are now.
struct ExportMetrics {
    /// Phases of a migration, as `MigrationProgress.phase` has them.
    private static let phases = ["connecting", "copying", "waiting", "fenced", "moved", "post-copy", "reconnecting"]

    private var size = MetricFamily("nearblock_export_size_bytes", .gauge, "Size of the disk.")
    private var clients = MetricFamily("nearblock_export_clients", .gauge, "NBD clients that have the export open.")
    private var state = MetricFamily("nearblock_export_state", .gauge, "1 for the export's state, 0 for the others.")
    private var problem = MetricFamily(
        "nearblock_export_problem", .gauge, "1 if nearblock status shows a problem of the export, otherwise 0.")
    private var missing = MetricFamily(
        "nearblock_export_missing_bytes", .gauge, "Bytes of an arrived disk that only its source has.")
    private var failures = MetricFamily(
        "nearblock_device_errors_total", .counter, "Requests that the disk behind the export has failed.")
    private var trimmed = MetricFamily(
        "nearblock_export_trimmed_bytes_total", .counter, "Bytes that clients have trimmed.")
    private var phase = MetricFamily(
        "nearblock_migration_phase", .gauge, "1 for the phase of the running migration, 0 for the others.")
    private var round = MetricFamily("nearblock_migration_round", .gauge, "Round of the running migration.")
    private var bytes = MetricFamily(
        "nearblock_migration_bytes", .gauge, "Bytes of the running migration so far, by where they come from.")
    private var remaining = MetricFamily(
        "nearblock_migration_remaining_bytes", .gauge, "Bytes that the running migration has still to deal with.")
    private var dirty = MetricFamily(
        "nearblock_migration_dirty_bytes", .gauge, "Bytes that clients have written since they were sent.")
    private var dirtyRate = MetricFamily(
        "nearblock_migration_dirty_bytes_per_second", .gauge, "Growth of the dirty bytes.")
    private var wire = MetricFamily(
        "nearblock_migration_wire_bytes", .gauge, "Bytes of the running migration on the link, both ways.")
    private var linkRate = MetricFamily(
        "nearblock_migration_wire_bytes_per_second", .gauge, "Bytes on the link each second, both ways.")
    private var secondsLeft = MetricFamily(
        "nearblock_migration_remaining_seconds", .gauge, "Estimated time until the disk is there; absent if unknown.")

    /// - Parameters:
    ///   - statuses: the exports.
    ///   - connections: number of clients by export.
    ///   - missingBytes: bytes that only the source has, by export.
    init(_ statuses: [ExportStatus], connections: [String: Int], missingBytes: [String: UInt64]) {
        for status in statuses {
            add(status, connections[status.export] ?? 0)
            if let bytes = missingBytes[status.export] { missing.add(["export": status.export], .count(bytes)) }
        }
    }

    private mutating func add(_ status: ExportStatus, _ connections: Int) {
        let name = status.export
        size.add(["export": name], .count(status.size))
        clients.add(["export": name], .count(UInt64(max(connections, 0))))
        let current = ExportCondition(state: status.state)
        for each in ExportCondition.allCases {
            state.add(["export": name, "state": each.rawValue], .count(each == current ? 1 : 0))
        }
        problem.add(["export": name], .count(status.problem == nil ? 0 : 1))
        for failure in status.failures ?? [] {
            failures.add(
                ["export": name, "command": failure.request, "error": failure.error], .count(failure.count))
        }
        if let bytes = status.trimmed { trimmed.add(["export": name], .count(bytes)) }
        addMigration(status)
    }

    private mutating func addMigration(_ status: ExportStatus) {
        guard let progress = status.progress else { return }
        let name = status.export
        for each in Self.phases {
            phase.add(["export": name, "phase": each], .count(each == progress.phase ? 1 : 0))
        }
        round.add(["export": name], .count(UInt64(clamping: progress.round)))
        for (source, count) in progress.ledger.bySource {
            bytes.add(["export": name, "source": source], .count(count))
        }
        let isPostCopy = progress.phase == "post-copy"
        let inRound = isPostCopy ? 0 : progress.total - min(progress.done, progress.total)
        remaining.add(["export": name], .number(Double(inRound) + Double(progress.dirty)))
        dirty.add(["export": name], .count(isPostCopy ? 0 : progress.dirty))
        dirtyRate.add(["export": name], .number(isPostCopy ? 0 : progress.dirtyRate))
        wire.add(["export": name], .count(progress.wire))
        linkRate.add(["export": name], .number(progress.linkRate / 8))
        if let left = progress.secondsLeft { secondsLeft.add(["export": name], .number(left)) }
    }

    var families: [MetricFamily] {
        [
            size, clients, state, problem, missing, failures, trimmed, phase, round, bytes, remaining, dirty,
            dirtyRate, wire, linkRate, secondsLeft,
        ]
    }
}
