import Block
import Migration
import NBDServer
import Synchronization

/// A disk of this node, with what a migration of it needs.
final class NodeExport: Sendable {
    private struct State {
        var migration: SourceMigration?
        var forward: ForwardLink?
        var movedTo: String?
    }

    let export: Export
    let image: RawImage
    let records: SourceRecords
    private let state = Mutex(State())

    init(export: Export, image: RawImage, records: SourceRecords) {
        self.export = export
        self.image = image
        self.records = records
    }

    var name: String { export.description.name }

    /// Claims the export for a migration.
    /// - Throws: `NodeError` where it is taken.
    func begin(_ migration: SourceMigration) throws {
        try state.withLock { state in
            if let running = state.migration {
                throw NodeError.alreadyMigrating(name, to: running.destination)
            }
            if state.forward != nil { throw NodeError.hasMoved(name, to: migration.destination) }
            state.migration = migration
        }
    }

    func end() {
        state.withLock { $0.migration = nil }
    }

    var migration: SourceMigration? { state.withLock { $0.migration } }

    /// Notes where the disk is now.
    func moved(to destination: String, by forward: ForwardLink) {
        state.withLock { state in
            state.forward = forward
            state.movedTo = destination
        }
    }

    var status: ExportStatus {
        let (migration, movedTo, forward) = state.withLock { ($0.migration, $0.movedTo, $0.forward) }
        let isActive = forward?.isActive ?? true
        let progress = migration?.progress
        let phase =
            movedTo != nil ? (isActive ? "moved" : "moved, waiting for the destination") : progress?.phase
        return ExportStatus(
            export: name, size: export.description.size, readOnly: export.description.isReadOnly,
            state: phase ?? "serving", destination: movedTo ?? migration?.destination.description,
            progress: progress,
            problem: forward?.problem)
    }

    func stop() {
        state.withLock { $0.forward }?.stop()
    }
}
