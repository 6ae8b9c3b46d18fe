import Block
import Migration
import NBDServer

/// Opening of disks, and forwarding for those that have moved.
extension Node {
    /// Opens the exports of the configuration at the start.
    /// - Throws: The error of an export that must not be missing; or of any, if the node would have nothing to do.
    func openConfigured() async throws {
        standing.look(at: configuration.exports)
        var failure: (any Error)?
        for export in configuration.exports {
            do {
                try await open(export)
            } catch  where export.mayBeMissing {
                holdBack(export, error)
                failure = error
            }
        }
        if exports.isEmpty, configuration.peerListen == nil, let failure { throw failure }
    }

    /// Opens a configured export.
    /// - Parameter old: The export that it replaces.
    func open(_ configured: ExportConfiguration, replacing old: NodeExport? = nil) async throws {
        if let problem = configured.stringProblem { throw NodeError.unusable(problem) }
        let backing = try await opener.open(configured)
        let unfinished = try IncomingRecord.incomplete(
            backing.image, in: state, elsewhere: { standing.identities })
        if let unfinished { try checkMayFinish(unfinished, at: configured.backing) }
        if let old, exports[configured.name] !== old || !old.isAtRest { throw NodeError.notReady(configured.name) }
        if configured.format == nil { formats.check(backing.file, .served) }
        let disk = try add(configured, backing, isConfigured: true, replacing: old)
        if unfinished == nil, let export = exports[configured.name], !export.hasMoved { await markServed(export) }
        await old?.bitmap?.stop()
        if let export = exports[configured.name] {
            // A later client could have written before the bits were there.
            if !hasStarted { await restoreBitmap(of: export) } else { discardBitmap(of: export) }
            await export.bitmap?.start()
        }
        guard unfinished != nil, let export = exports[configured.name], export.isAtRest else { return }
        await disk.fence()
        export.setHeldBack(true)
    }

    /// Checks that this node can finish an interrupted return of a disk into a configured image.
    /// - Throws: `NodeError` if it can't.
    private func checkMayFinish(_ record: IncomingRecord, at path: String) throws {
        guard record.isReturn else {
            throw NodeError.unusable(
                "\(path) is an image that \(record.export) arrives in, and blocks of it are missing; leave it to the "
                    + "node that takes it in with --images")
        }
        // Only the start of a node resumes returns and later releases their exports.
        guard registry == nil else {
            throw NodeError.unusable("\(path) has missing blocks; run nearblock reload again when none is missing")
        }
        guard configuration.peerListen != nil else {
            throw NodeError.unusable(
                "\(path) has come back here with missing blocks: start with --peer-listen and --images as before")
        }
    }

    /// Serves a disk; or forwards its clients if an earlier process gave it away. Serving it then would make two writers
    /// (invariant 5).
    /// - Parameter prepared: A disk on the device of `arrived`, used unless clients know one already or it has moved on.
    @discardableResult
    func add(
        _ configuration: ExportConfiguration, _ backing: Backing, isConfigured: Bool, arrived: ReceivedDisk? = nil,
        replacing old: NodeExport? = nil, on prepared: Disk? = nil
    ) throws -> Disk {
        let name = configuration.name
        let records = try records(of: backing.image, for: name, arrived: arrived)
        let moved = try records?.moved()
        let link = moved.map {
            departure($0)?.forward
                ?? ForwardLink(record: $0, records: records, transport: transport, logger: peerLogger)
        }
        let device = link.map { ForwardingDevice(forwarder: $0) } ?? arrived?.device ?? backing.device
        // A moved disk keeps the size that it had then, whatever has happened to its image.
        let disk =
            arrived?.early ?? (moved == nil ? prepared : nil)
            ?? Disk(
                size: moved?.size ?? backing.size, device: device, loops: loops,
                losses: link?.losses.first ?? backing.losses)
        // A disk that was open before its image is, here or elsewhere, has a count of its own.
        backing.losses.follow(with: disk.losses)
        // Clients that came before the switchover stay, and count.
        let early = arrived?.early == nil ? nil : exports[name]?.export
        let export = factory.export(configuration, disk: disk, backing: backing, replacing: early)
        if arrived?.early != nil || old != nil {
            table.replace(with: export, isDefault: configuration.isDefault)
        } else {
            guard table.add(export, isDefault: configuration.isDefault) else { throw NodeError.nameTaken(name) }
        }
        let added = NodeExport(
            export: export, configuration: isConfigured ? configuration : nil, backing: backing, records: records,
            bitmap: factory.bitmap(configuration, of: export))
        exports[name] = added
        watch(added)
        if old != nil { upkeep.end(of: name) }
        if let moved, let link, let records { depart(added, as: moved, records, over: link) }
        upkeep.start(for: added)
        return disk
    }

    /// Opens the records of an image, and brings them up to date.
    /// - Returns: Nil if there is no image.
    func records(of image: (any DiskImage)?, for name: String, arrived: ReceivedDisk?) throws -> SourceRecords? {
        // Check first: only the running migration may write the records of its disk.
        try SharedImages(exports: Array(exports.values)).checkIsNotMoving(image, for: name)
        guard let image else { return nil }
        let records = SourceRecords(directory: state, image: image, standing: { [standing] in standing.all })
        if arrived == nil { try records.confirmIdentity() } else { try records.claimPlace() }
        // The owner of a disk that has just arrived is not in doubt.
        if arrived == nil, stateLock != nil { try records.resolveOutcome() }
        return records
    }

    /// Forwards the clients of a disk that an earlier process gave away, and supplies its missing blocks.
    private func depart(_ export: NodeExport, as moved: MovedRecord, _ records: SourceRecords, over link: ForwardLink) {
        export.forgetRequest(logger)
        let shared = departure(moved)
        let supply =
            shared.map(\.supply)
            ?? PostCopySourceLink(
                record: moved, image: records.image, records: records, rate: rates.limit(of: moved),
                transport: transport, pools: pools, logger: peerLogger)
        export.markMoved(by: link)
        if let supply { export.setSupply(supply) }
        if let supply, shared == nil { rememberRelease(of: export.name, moved, supply) }
        let advice = records.movedFile.map { "; to serve it here all the same, as a second copy, remove \($0)" } ?? ""
        logger.notice(
            "\(records.image.path) has moved to \(moved.destination), and clients are forwarded there\(advice)")
    }

    /// Remembers the end of a migration that an earlier process began, once nothing is missing.
    private func rememberRelease(of name: String, _ moved: MovedRecord, _ supply: PostCopySourceLink) {
        tasks.append(
            Task { [history] in
                guard (try? await supply.waitForRelease()) != nil, supply.isReleased else { return }
                history.add([PastMigration(of: name, to: moved.destination.description, .complete)])
            })
    }

    /// Finds the links of a moved disk, which all exports of its image share; nil if there are none yet.
    private func departure(_ moved: MovedRecord) -> (forward: ForwardLink, supply: PostCopySourceLink?)? {
        exports.values.lazy.compactMap(\.onward).first { $0.forward.migration == moved.migration }
    }
}
