import Block
import Migration
import NBDServer
import NIOConcurrencyHelpers

/// A disk of this node, with what a migration of it needs.
final class NodeExport: Sendable {
    private struct State {
        var migration: SourceMigration?
        var forward: ForwardLink?
    }

    let export: Export
    /// What it is to be as its configuration says; nil for a disk that has been moved here.
    let configuration: ExportConfiguration?
    let backing: Backing
    /// What is known of migrations of the image; nil where there is no image.
    let records: SourceRecords?
    private let state = NIOLockedValueBox(State())

    init(export: Export, configuration: ExportConfiguration?, backing: Backing, records: SourceRecords?) {
        self.export = export
        self.configuration = configuration
        self.backing = backing
        self.records = records
    }

    /// Whether the disk is just served: it neither moves nor has moved.
    var isAtRest: Bool { state.withLockedValue { $0.migration == nil && $0.forward == nil } }

    var name: String { export.description.name }

    /// Claims the export for a migration.
    /// - Throws: `NodeError` where it is taken.
    func begin(_ migration: SourceMigration) throws {
        try state.withLockedValue { state in
            if let running = state.migration {
                throw NodeError.alreadyMigrating(name, to: running.destination)
            }
            if let forward = state.forward { throw NodeError.hasMoved(name, to: forward.destination) }
            state.migration = migration
        }
    }

    func end() {
        state.withLockedValue { $0.migration = nil }
    }

    var migration: SourceMigration? { state.withLockedValue { $0.migration } }

    /// Notes that the disk is another node's, and the link that forwards its clients there.
    func moved(by forward: ForwardLink) {
        state.withLockedValue { $0.forward = forward }
    }

    var status: ExportStatus {
        let (migration, forward) = state.withLockedValue { ($0.migration, $0.forward) }
        let progress = migration?.progress
        let phase =
            forward.map { $0.isActive ? "moved" : "moved, waiting for the destination" } ?? progress?.phase
        return ExportStatus(
            export: name, size: export.description.size, readOnly: export.description.isReadOnly,
            state: phase ?? "serving", destination: (forward?.destination ?? migration?.destination)?.description,
            progress: progress,
            problem: forward?.problem)
    }

    /// Waits no longer for the node that the disk has moved to.
    func stopForwarding() {
        state.withLockedValue { $0.forward }?.stop()
    }
}
