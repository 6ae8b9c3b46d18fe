import Logging
import Migration
import MigrationCore

/// A migration that was running when the node was killed, with the exports that have its disks now.
struct KeptMigrationGroup {
    /// Time after which the process counts as having outlived a destination that does not answer.
    static let unansweredTrial = Duration.seconds(10)
    /// Time after which the process counts as having outlived the migration.
    static let trial = Duration.seconds(60)

    /// The command, with the exports' current names if `isWhole`.
    let command: MigrateCommand
    /// Exports that have the command's disks.
    let exports: [NodeExport]
    /// Whether all disks of the command are present. If not, the kill came while the migration started or was
    /// cancelled, or one disk is another file now.
    let isWhole: Bool
    /// Names of the disks that are not present.
    let missing: [String]
    /// Names of the disks, for messages.
    let list: String

    /// Finds the interrupted migrations of exports that have not moved. Without a `MovedRecord` no disk has been
    /// switched over, so each migration can be dropped without loss.
    /// - Parameter failed: Called for each export whose record can't be read.
    static func all(
        of exports: some Sequence<NodeExport>, failed: (NodeExport, any Error) -> Void
    ) -> [KeptMigrationGroup] {
        var kept: [[String]: [(migration: KeptMigration, export: NodeExport)]] = [:]
        for export in exports where export.isAtRest {
            do {
                guard let migration = try export.records?.kept(KeptMigration.self) else { continue }
                kept[migration.command.exports, default: []].append((migration, export))
            } catch {
                failed(export, error)
            }
        }
        return kept.values.map { KeptMigrationGroup(disks: $0) }
    }

    private init(disks: [(migration: KeptMigration, export: NodeExport)]) {
        var command = disks[0].migration.command
        // If several exports have one image, prefer the one that the command named, then a writable one.
        let ordered =
            disks.filter { $0.export.name == $0.migration.export }
            + disks.sorted { !$0.export.isReadOnly && $1.export.isReadOnly }
        let names = Dictionary(ordered.map { ($0.migration.export, $0.export.name) }) { first, _ in first }
        missing = command.exports.filter { names[$0] == nil }
        isWhole = missing.isEmpty
        // Exports may have been renamed since.
        command.exports = command.exports.map { names[$0] ?? $0 }
        self.command = command
        exports = disks.map(\.export)
        list = command.exports.joined(separator: ", ")
    }

    /// Counts this start as one that ended because of the migration, until it has run for a while.
    /// - Returns: Nil to resume; otherwise the reason why not.
    /// - Throws: an error if the count can't be made durable.
    func begin() throws -> String? {
        let counts = try exports.compactMap { try $0.records?.resumes(KeptMigration.self) }
        if let count = counts.first(where: \.isTooMany) { return problem(after: count.ends) }
        // Several exports may share one record.
        var next = counts.max { $0.ends < $1.ends } ?? ResumeCount()
        next.begin()
        try count { $0 = next }
        return nil
    }

    /// Changes the count in all records of the group.
    /// - Throws: an error if a record can't be written.
    func count(_ change: (inout ResumeCount) -> Void) throws {
        for export in exports { try export.records?.countResumes(of: KeptMigration.self, change) }
    }

    /// Lowers the counts in steps while the process keeps running. Ends when the task is cancelled.
    func outlive() async {
        do {
            try await Task.sleep(for: Self.unansweredTrial)
            try? count { $0.answered() }
            try await Task.sleep(for: Self.trial - Self.unansweredTrial)
            try? count { $0.settled() }
        } catch {}
    }

    private func problem(after ends: Int) -> String {
        let names = command.exports.joined(separator: " ")
        return
            "its migration to \(command.destination) is put aside, because this node ended \(ends) times in a row after "
            + "resuming it; try again with: nearblock migrate \(names) --to \(command.destination), "
            + "or drop it with: nearblock cancel \(command.exports[0])"
    }
}
