import Migration

/// The migrations that have ended, as a table for people.
struct CompletedTable {
    private let migrations: [PastMigration]

    init(_ migrations: [PastMigration]) { self.migrations = migrations }

    /// Lines of at most 80 columns, except for messages and longer words; the latest migration first.
    var lines: [String] {
        var table = TextTable(columns: [
            .init("EXPORT", width: 16), .init("SIZE", width: 9, isRight: true), .init("ENDED", width: 20),
            .init("STATE", width: 11), .init("TIME", width: 8, isRight: true), .init("WIRE", width: 9, isRight: true),
        ])
        for migration in migrations.reversed() {
            let report = migration.report
            table.add(
                [
                    migration.export, report.map { Format.bytes($0.size) } ?? "", migration.ended, migration.state,
                    report.map { Format.shortTime($0.seconds.total) } ?? "",
                    report.map { Format.bytes($0.wire.total) } ?? "",
                ], details: details(migration),
                messages: migration.problem.map { ["because: \($0)"] } ?? [])
        }
        return table.lines
    }

    private func details(_ migration: PastMigration) -> [String] {
        var text = "to \(migration.destination)"
        if let report = migration.report {
            text += "; downtime \(Format.seconds(report.seconds.pause)); root \(report.root.prefix(16))"
        }
        return [text]
    }
}
