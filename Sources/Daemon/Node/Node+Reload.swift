import Block
import NBDServer
import Peer
import TLS

/// Changes of the configuration while the node runs.
extension Node {
    /// Sets how the node is reloaded when a command asks for it. The closure calls `reload` with what it has read.
    public func setReload(_ readAgain: @escaping @Sendable () async throws -> ReloadReport) {
        self.readAgain = readAgain
    }

    /// - Throws: The error for which the configuration stays as it was.
    func reloadAsAsked() async throws -> ReloadReport {
        guard let readAgain else { throw NodeError.unusable("this node has no configuration to read again") }
        do { return try await readAgain() } catch {
            throw NodeError.unusable("the configuration stays as it was: \(error.plainReason)")
        }
    }

    /// Applies what may change at run time: exports, certificates and keys. Connected clients keep their export.
    /// - Parameter started: Configuration from files and command line when the node was started.
    /// - Returns: The changes, and the exports that can't be served.
    /// - Throws: `TLSError`, `PeerError` or `NodeError`; nothing has changed then.
    @discardableResult
    public func reload(_ new: NodeConfiguration, started: NodeConfiguration) async throws -> ReloadReport {
        guard !isStopping else { throw NodeError.unusable("this node is ending") }
        try new.checkEncryption()
        let protection = try new.openPeerProtection()
        // The peer address itself changes only with a restart.
        if let address = configuration.peerListen { try protection.checkListening(on: address) }
        server.secure(with: try new.tls?.open())
        transport.protection = protection
        table.setListed(new.listsExports)
        var report = ReloadReport()
        for key in new.fixedKeys(changedSince: started) {
            report.notes.append("\(key) has changed, which takes effect only after a restart")
            logger.warning("\(report.notes.last ?? "")")
        }
        watchCertificates(of: new)
        for problem in new.certificateProblems() {
            log(problem)
            if problem.isFault { report.problems.append("\(problem)") } else { report.notes.append("\(problem)") }
        }
        isReloading = true
        defer { isReloading = false }
        await retrying?.value
        standing.look(at: new.exports)
        let late = Set(waiting.keys)
        heldBack.withLockedValue { $0 = [:] }
        waiting = [:]
        let renamed = await replaceOrWithdraw(new.exports, &report)
        await adopt(new.exports, &report)
        await offer(new.exports, renaming: renamed, &report)
        tellSummary()
        // Migrations may have waited for these.
        if late.contains(where: { exports[$0] != nil }) { await resumeMigrations() }
        lookAtAll()
        report.problems += heldBack.withLockedValue { $0 }.sorted { $0.key < $1.key }
            .map { "\($0.key) is not offered: \($0.value)" }
        return report
    }

    /// Replaces the descriptions of changed exports, and withdraws those that are no longer configured.
    /// - Returns: Withdrawn exports whose backings are to be offered under other names. They keep the backings open.
    private func replaceOrWithdraw(
        _ configured: [ExportConfiguration], _ report: inout ReloadReport
    ) async -> [NodeExport] {
        var renamed: [NodeExport] = []
        for (name, export) in exports {
            guard let old = export.configuration, !configured.contains(where: { $0 == old }) else { continue }
            guard export.isHere else {
                await leave(export, isConfigured: configured.contains { $0.name == name }, &report)
                continue
            }
            if let changed = configured.first(where: { $0.name == name && $0.sharesBacking(with: old) }) {
                await replace(export, with: changed)
                report.notes.append("\(name) has new settings")
            } else if export.claimed == .resize {
                report.problems.append("\(name) is being made larger, and stays as it is; reload again in a moment")
                logger.warning("\(report.problems.last ?? "")")
            } else if !configured.contains(where: { $0.name == name }), await disinherit(export) {
                logger.notice("\(name) is served as it came by migration")
                report.notes.append("\(name) is served as it came by migration")
            } else if exports[name] !== export || !export.isAtRest {
                report.notes.append("\(name) began to move meanwhile; it stays as it is")
                logger.warning("\(report.notes.last ?? "")")
            } else {
                table.remove(name)
                exports[name] = nil
                upkeep.end(of: name)
                if configured.contains(where: { $0.sharesBacking(with: old) }) { renamed.append(export) }
                report.notes.append("\(name) is no longer offered")
                logger.notice("\(report.notes.last ?? "")")
            }
        }
        return renamed
    }

    /// Withdraws a moved disk that nothing uses any more; otherwise says why it stays.
    private func leave(_ export: NodeExport, isConfigured: Bool, _ report: inout ReloadReport) async {
        if !isConfigured, await withdrawMoved(export) {
            report.notes.append("\(export.name) is no longer offered: it has moved, and no client is left")
            logger.notice("\(report.notes.last ?? "")")
            return
        }
        let advice = isConfigured ? "" : "; reload again once it has moved, is not needed, and has no clients"
        report.notes.append("\(export.name) is moving or has moved; it stays as it is\(advice)")
        logger.warning("\(report.notes.last ?? "")")
    }

    private func offer(
        _ configured: [ExportConfiguration], renaming withdrawn: [NodeExport], _ report: inout ReloadReport
    ) async {
        var renamed = withdrawn
        for export in configured where exports[export.name] == nil && !isStopping {
            do {
                if let index = renamed.firstIndex(where: { $0.configuration?.sharesBacking(with: export) ?? false }) {
                    await replace(renamed.remove(at: index), with: export)
                } else {
                    try await open(export)
                }
                report.notes.append("\(export.name) is offered")
                logger.notice("\(report.notes.last ?? "")")
            } catch {
                holdBack(export, error)
            }
        }
    }

    /// Offers the same disk with another description or name. Connected clients keep the disk open.
    /// - Parameters:
    ///   - isConfigured: Whether `configuration` is the operator's.
    ///   - next: Another opening of the same disk, which stands under its device already; nil for the first one.
    func replace(
        _ old: NodeExport, with configuration: ExportConfiguration, isConfigured: Bool = true, on next: Backing? = nil
    ) async {
        guard let backing = next ?? old.backing else { return }
        let export = factory.export(configuration, disk: old.export.disk, backing: backing, replacing: old.export)
        table.replace(with: export, isDefault: configuration.isDefault)
        // A bitmap of the same name keeps its blocks.
        let keepsBitmap = old.bitmap?.name == configuration.dirtyBitmap
        let replaced = NodeExport(
            export: export, configuration: isConfigured ? configuration : nil, backing: backing,
            records: next.flatMap { try? records(of: $0.image, for: configuration.name, arrived: nil) } ?? old.records,
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
