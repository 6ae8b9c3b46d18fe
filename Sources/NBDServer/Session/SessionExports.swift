import NBD

/// A table of exports as one connection sees it, and the connection's place among the clients of its export. Used on
/// the connection's loop.
final class SessionExports: ExportCatalog {
    private let table: ExportTable
    private let client: ClientAddress
    /// The export that the client was granted; nil before that.
    private(set) var chosen: Export?
    /// The export that the client waits for (`Admission.undecided`); nil if there is none.
    private(set) var undecided: Export?
    private var isDecided = false
    private var isCounted = false

    init(_ table: ExportTable, for client: ClientAddress) {
        self.table = table
        self.client = client
    }

    func export(named name: String) -> ExportDescription? { table.export(named: name) }

    func exports() -> [ExportDescription]? { table.exports() }

    func needsLook(at name: String) -> Bool { table.needsLook(at: name) }

    /// The watcher of an export; nil if nothing can change behind it.
    func watcher(of name: String) -> (any ExportWatcher)? { table.find(name)?.watcher }

    var exportCount: Int { table.exportCount }

    func admission(to export: ExportDescription) -> Admission {
        // The export may have been removed since the client named it.
        guard let export = table.find(export.name) else { return .refused }
        leave()
        defer { isDecided = false }
        if export.connections.enter(limit: export.maximumConnections) {
            isCounted = true
            chosen = export
            return .granted
        }
        if isDecided {
            export.refused?.record(client)
            return .refused
        }
        undecided = export
        return .undecided
    }

    /// Makes the next answer of `admission` final.
    func decide() {
        isDecided = true
        undecided = nil
    }

    /// Gives up the connection's place among the clients of its export.
    func leave() {
        guard isCounted else { return }
        isCounted = false
        chosen?.connections.leave()
    }
}
