import NBD

/// The exports of a table as one connection sees them, and its place among the clients of the one that it has chosen.
/// Used on the connection's loop.
final class SessionExports: ExportCatalog {
    private let table: ExportTable
    /// What the client has chosen and may have.
    private(set) var chosen: Export?
    /// What the client has chosen where it is not known yet whether it may have it.
    private(set) var undecided: Export?
    private var isDecided = false
    private var isCounted = false

    init(_ table: ExportTable) {
        self.table = table
    }

    func export(named name: String) -> ExportDescription? { table.export(named: name) }

    func exports() -> [ExportDescription]? { table.exports() }

    func needsLook(at name: String) -> Bool { table.needsLook(at: name) }

    /// Who knows whether what is behind an export has changed; nil where nothing changes.
    func watcher(of name: String) -> (any ExportWatcher)? { table.find(name)?.watcher }

    var exportCount: Int { table.exportCount }

    func admission(to export: ExportDescription) -> Admission {
        // It may have been taken out of the table since the client named it.
        guard let export = table.find(export.name) else { return .refused }
        leave()
        defer { isDecided = false }
        if export.connections.enter(limit: export.maximumConnections) {
            isCounted = true
            chosen = export
            return .granted
        }
        if isDecided {
            export.refused?.note()
            return .refused
        }
        undecided = export
        return .undecided
    }

    /// The next answer of `admission` is the last word.
    func decide() {
        isDecided = true
        undecided = nil
    }

    /// The client does nothing with the export any more.
    func leave() {
        guard isCounted else { return }
        isCounted = false
        chosen?.connections.leave()
    }
}
