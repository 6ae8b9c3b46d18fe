import Migration
import Monitoring

/// The metrics of the last finished migration of each export from this node.
struct FinishedMetrics {
    private var bytes = MetricFamily(
        "nearblock_last_migration_bytes", .gauge, "Bytes of the export's last migration, by where they came from.")
    private var downtime = MetricFamily(
        "nearblock_last_migration_downtime_seconds", .gauge, "Downtime of the export's last migration.")
    private var duration = MetricFamily(
        "nearblock_last_migration_duration_seconds", .gauge, "Duration of the export's last migration.")
    private var wire = MetricFamily(
        "nearblock_last_migration_wire_bytes", .gauge, "Bytes of the export's last migration on the link, both ways.")

    init(_ finished: [FinishedMigration]) {
        for report in finished.map(\.report) {
            let labels: KeyValuePairs = ["export": report.export]
            for (source, count) in report.ledger.bySource {
                bytes.add(["export": report.export, "source": source], .count(count))
            }
            downtime.add(labels, .number(report.seconds.pause))
            duration.add(labels, .number(report.seconds.total))
            wire.add(labels, .count(report.wire.total))
        }
    }

    var families: [MetricFamily] { [bytes, downtime, duration, wire] }
}
