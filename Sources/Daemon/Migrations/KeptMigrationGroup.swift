import Logging
import Migration

/// What an earlier life of the node was moving at one moment when it was killed, as the exports that are there now have it.
struct KeptMigrationGroup {
    /// Before this long the process is not known to outlive a destination that does not answer.
    static let unansweredTrial = Duration.seconds(10)
    /// Before this long it is not known to outlive the migration.
    static let trial = Duration.seconds(60)

    /// The command, with the names that the exports have now; of one that `isWhole`.
    let command: MigrateCommand
    /// The exports whose images are in it.
    let exports: [NodeExport]
    /// Whether all disks of the command are there: otherwise it was just being begun or given up, or one of them is another
    /// file now.
    let isWhole: Bool
    /// The names of its disks, for messages.
    let list: String

    /// The migrations of exports that are only served, so that each can be dropped without loss: none of them has been handed
    /// over, as long as there is no `MovedRecord`.
    /// - Parameter failed: told of each export of which it can't be read what was being done with it.
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
        // Of several exports of one image, the one that was named is the one that moves.
        let ordered =
            disks.filter { $0.export.name == $0.migration.export }
            + disks.sorted { !$0.export.isReadOnly && $1.export.isReadOnly }
        let names = Dictionary(ordered.map { ($0.migration.export, $0.export.name) }) { first, _ in first }
        isWhole = command.exports.allSatisfy { names[$0] != nil }
        // An export may have another name now.
        command.exports = command.exports.map { names[$0] ?? $0 }
        self.command = command
        exports = disks.map(\.export)
        list = command.exports.joined(separator: ", ")
    }

    /// Counts this life as one that ends because of the migration, until something shows that it does not.
    /// - Returns: nil, or why it is not to be gone on with.
    /// - Throws: where that can't be noted durably.
    func begin() throws -> String? {
        let counts = try exports.compactMap { try $0.records?.resumes(KeptMigration.self) }
        if let count = counts.first(where: \.isTooMany) { return problem(after: count.ends) }
        // Several exports may have one record.
        var next = counts.max { $0.ends < $1.ends } ?? ResumeCount()
        next.begin()
        try count { $0 = next }
        return nil
    }

    /// Notes what shows that the process outlives the migration.
    /// - Throws: where that can't be noted.
    func count(_ change: (inout ResumeCount) -> Void) throws {
        for export in exports { try export.records?.countResumes(of: KeptMigration.self, change) }
    }

    /// Lowers the counts once the process has gone on for a while; until the task is cancelled.
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
            "its migration to \(command.destination) is put aside, as this node has ended \(ends) times in a row after it "
            + "had gone on with it; try it again with: nearblock migrate \(names) --to \(command.destination), "
            + "or drop it with: nearblock cancel \(command.exports[0])"
    }
}
