import Block
import NBDServer

/// Changes of the configuration while the node runs.
extension Node {
    /// Applies what may change at run time: exports, certificates and keys. Connected clients keep their export.
    /// - Parameter started: Configuration from files and command line when the node was started.
    /// - Throws: `TLSError`, `PeerError` or `NodeError`; nothing has changed then. An export that can't be opened is only
    ///   logged.
    public func reload(_ new: NodeConfiguration, started: NodeConfiguration) async throws {
        try new.checkEncryption()
        let protection = try new.openPeerProtection()
        // The peer address itself changes only with a restart.
        if let address = configuration.peerListen { try protection.checkListening(on: address) }
        server.secure(with: try new.tls?.open())
        transport.protection = protection
        table.setListed(new.listsExports)
        for key in new.fixedKeys(changedSince: started) {
            logger.warning("\(key) has changed, which takes effect only after a restart")
        }
        standing.look(at: new.exports)
        heldBack.withLockedValue { $0 = [:] }
        waiting = [:]
        let renamed = await replaceOrWithdraw(new.exports)
        await adopt(new.exports)
        await offer(new.exports, renaming: renamed)
        tellSummary()
        lookAtAll()
    }

    /// Replaces the descriptions of changed exports, and withdraws those that are no longer configured.
    /// - Returns: Withdrawn exports whose backings are to be offered under other names. They keep the backings open.
    private func replaceOrWithdraw(_ configured: [ExportConfiguration]) async -> [NodeExport] {
        var renamed: [NodeExport] = []
        for (name, export) in exports {
            guard let old = export.configuration, !configured.contains(where: { $0 == old }) else { continue }
            guard export.isAtRest else {
                logger.warning("\(name) is moving or has moved; it stays as it is")
                continue
            }
            if let changed = configured.first(where: { $0.name == name && $0.sharesBacking(with: old) }) {
                await replace(export, with: changed)
            } else if !configured.contains(where: { $0.name == name }), await disinherit(export) {
                logger.notice("\(name) is served as it came by migration")
            } else {
                table.remove(name)
                exports[name] = nil
                upkeep.end(of: name)
                if configured.contains(where: { $0.sharesBacking(with: old) }) { renamed.append(export) }
                logger.notice("\(name) is no longer offered")
            }
        }
        return renamed
    }

    private func offer(_ configured: [ExportConfiguration], renaming withdrawn: [NodeExport]) async {
        var renamed = withdrawn
        for export in configured where exports[export.name] == nil {
            do {
                if let index = renamed.firstIndex(where: { $0.configuration?.sharesBacking(with: export) ?? false }) {
                    await replace(renamed.remove(at: index), with: export)
                } else {
                    try await open(export)
                }
                logger.notice("\(export.name) is offered")
            } catch {
                holdBack(export, error)
            }
        }
    }

    /// Offers the same disk with another description or name. Connected clients keep the disk open.
    /// - Parameter isConfigured: Whether `configuration` is the operator's.
    func replace(_ old: NodeExport, with configuration: ExportConfiguration, isConfigured: Bool = true) async {
        guard let backing = old.backing else { return }
        let export = factory.export(configuration, disk: old.export.disk, backing: backing, replacing: old.export)
        table.replace(with: export, isDefault: configuration.isDefault)
        // A bitmap of the same name keeps its blocks.
        let keepsBitmap = old.configuration?.dirtyBitmap == configuration.dirtyBitmap
        let replaced = NodeExport(
            export: export, configuration: isConfigured ? configuration : nil, backing: backing, records: old.records,
            bitmap: keepsBitmap ? old.bitmap : factory.bitmap(configuration, of: export))
        replaced.copyState(from: old)
        exports[configuration.name] = replaced
        watch(replaced)
        upkeep.start(for: replaced)
        guard !keepsBitmap else { return }
        await old.bitmap?.stop()
        await replaced.bitmap?.start()
    }
}
