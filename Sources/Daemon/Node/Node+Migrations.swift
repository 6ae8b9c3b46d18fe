import Block
import Migration
import MigrationCore
import Peer
import PeerModel

/// Commands that migrate disks to other nodes.
extension Node {
    /// Migrates exports to another node, and returns when the disks are there whole.
    /// - Parameter progress: Called about four times a second.
    /// - Throws: The reason of a failure; the exports are then served here as before.
    func migrate(
        _ command: MigrateCommand, progress: @escaping @Sendable (MigrationProgress) -> Void
    ) async throws -> [MigrationReport] {
        let (moving, migration, memory) = try await begin(command)
        let watch = Task {
            // Rates and remaining times change without an event.
            while !Task.isCancelled {
                progress(MigrationProgress(of: moving.compactMap { $0[0].migration?.progress }))
                try? await Task.sleep(for: .milliseconds(250))
            }
        }
        defer { watch.cancel() }
        return try await follow(migration, of: moving, memory).value
    }

    /// Starts to migrate exports, and returns at once.
    /// - Parameter isResumed: Whether a recorded migration goes on after a restart.
    func migrateDetached(_ command: MigrateCommand, isResumed: Bool = false) async throws {
        let (moving, migration, memory) = try await begin(command, isResumed: isResumed)
        follow(migration, of: moving, memory)
    }

    /// Estimates a migration of exports, one after another; nothing moves.
    /// - Throws: The reason why an export could not be migrated.
    func estimate(_ command: MigrateCommand) async throws -> [MigrationEstimate] {
        let (moving, command) = try await find(command)
        var estimates: [MigrationEstimate] = []
        var besides: UInt64 = 0
        for export in moving {
            try export.checkIsFree()
            var job = try command.job(
                for: export, rate: RateLimit(bitsPerSecond: command.rate), index: configuration.index, formats: formats)
            job.dataBesides = besides
            estimates.append(try await SourceEstimate(job: job, transport: transport, pools: pools).run())
            let data = try await pools.urgent.runIfActive { [image = job.image] in try image.dataBytes() }
            let (sum, overflows) = besides.addingReportingOverflow(data)
            besides = overflows ? .max : sum
        }
        return estimates
    }

    /// Starts the switchover of a disk and its group.
    func switchOver(_ name: String) throws {
        let (export, migration) = try findMigration(name)
        guard migration.switchOver() else { throw NodeError.tooLateToSwitch(export.name) }
    }

    /// Shows clients the writes since the last checkpoint; or adds the last checkpoint's blocks to the next one.
    func checkpoint(_ name: String, hasFailed: Bool) async throws {
        let export = try find(name)
        guard let bitmap = export.bitmap else { throw NodeError.noBitmap(export.name) }
        guard !export.hasMoved else {
            throw NodeError.unusable("\(export.name) has moved, and its bitmap does not track writes at other nodes")
        }
        if export.migration == nil { await bitmap.takeBack() }
        guard await hasFailed ? bitmap.failed() : bitmap.checkpoint() else {
            throw NodeError.unusable(
                "\(export.name) is being switched over, and its bitmap goes with it; ask again at the node that then has it"
            )
        }
    }

    /// Changes the rate limit that all disks of a migration share; nil removes it.
    func setRate(_ name: String, bitsPerSecond: UInt64?) throws {
        let export = try find(name)
        guard let rate = export.rate else { throw NodeError.notMigrating(export.name) }
        guard bitsPerSecond != 0 else {
            throw NodeError.unusable("a rate of 0 would never end; give at least 1 bit a second")
        }
        rate.set(bitsPerSecond: bitsPerSecond)
    }

    func findMigration(_ name: String) throws -> (NodeExport, SourceMigration) {
        let export = try find(name)
        guard let migration = export.migration else { throw NodeError.notMigrating(export.name) }
        return (export, migration)
    }

    /// - Throws: `NodeError` once this node is about to end.
    func checkGoesOn() throws {
        guard !isStopping else { throw NodeError.unusable("this node is about to end") }
    }

    // MARK: Starting a migration

    /// Runs a migration to its end, even if its client disconnects.
    @discardableResult
    private func follow(
        _ migration: GuestMigration, of moving: [[NodeExport]], _ memory: GuestMemoryRun?
    ) -> Task<[MigrationReport], any Error> {
        let attempts = MigrationAttempts(
            disks: moving, logger: logger, replaced: { memory?.migrations?.set($0) },
            moved: { [self] in await tellPredecessors(of: $0) }, outcomes: outcomes)
        let task = Task {
            defer { moving[0][0].setMemory(nil) }
            do {
                var reports = try await attempts.run(migration, on: self)
                await memory?.finish()
                reports[0].memory = memory?.relay.status
                remember(reports, to: migration.disks[0].destination)
                return reports
            } catch {
                await memory?.stop()
                await markServed(moving.flatMap(\.self), after: error)
                remember(moving, to: migration.disks[0].destination, because: error)
                throw error
            }
        }
        runs.add(
            MigrationRun(
                exports: moving.flatMap(\.self), names: moving.map { $0[0].name }, task: task, memory: memory))
        return task
    }

    private func remember(_ reports: [MigrationReport], to destination: PeerAddress) {
        history.add(
            reports.map { PastMigration(of: $0.export, to: destination.description, .complete, report: $0) })
    }

    private func remember(_ moving: [[NodeExport]], to destination: PeerAddress, because error: any Error) {
        let problem = isStopping ? "this node ended: \(error.plainReason)" : error.plainReason
        history.add(
            moving.map {
                PastMigration(
                    of: $0[0].name, to: destination.description, MigrationOutcome(of: error), problem: problem)
            })
    }

    /// Tells nodes that forward their clients here where a moved disk is now.
    func tellPredecessors(of export: NodeExport) async {
        guard let (link, supply) = export.onward else { return }
        await registry?.passOn(export.export.disk, over: link, supply: supply)
    }

    /// Claims the exports of a command and records the command.
    /// - Returns: For each disk its export and the other exports of its image; the migration; and the guest's memory.
    private func begin(
        _ command: MigrateCommand, isResumed: Bool = false
    ) async throws -> ([[NodeExport]], GuestMigration, GuestMemoryRun?) {
        let (found, command) = try await find(command)
        try checkGoesOn()
        let images = SharedImages(exports: Array(exports.values))
        let moving = try found.map { [$0] + (try images.siblings(of: $0)) }
        if let twin = moving.lazy.flatMap({ $0.dropFirst() }).first(where: { twin in found.contains { $0 === twin } }) {
            throw NodeError.unusable(
                "\(twin.name) is another export of an image that the command names already; name one of them")
        }
        let jobs = try jobs(command, moving, isResumed: isResumed)
        let migration = GuestMigration(
            jobs: jobs, transport: transport, pools: pools, logger: peerLogger, isResumed: isResumed)
        let latest = LatestMigrations(migration)
        var memory: GuestMemoryRun?
        if let request = command.memory {
            memory = try await listen(
                for: request, to: command.destination, rate: jobs[0].rate, disks: .moving(latest.current),
                migrations: latest)
        }
        do {
            // The end of the node may have begun while a socket was made: it would not wait for this migration.
            try checkGoesOn()
            try claim(moving, for: migration, command, isResumed: isResumed)
            try await leave(with: moving, migration, isResumed: isResumed)
        } catch {
            memory?.cancel()
            throw error
        }
        moving[0][0].setMemory(memory?.relay)
        return (moving, migration, memory)
    }

    /// Tells the site that claimed disks are about to move. Releases the claims if it can't be told.
    private func leave(
        with moving: [[NodeExport]], _ migration: GuestMigration, isResumed: Bool
    ) async throws {
        do {
            try await markLeaving(moving.flatMap(\.self))
            try checkGoesOn()
        } catch {
            for (exports, disk) in zip(moving, migration.disks) {
                for export in exports {
                    // One that was kept is tried again at the next start.
                    if !isResumed { export.forgetRequest(logger) }
                    export.end(disk)
                }
            }
            for export in moving.flatMap(\.self) { await markServed(export) }
            throw error
        }
    }

    private func jobs(_ command: MigrateCommand, _ moving: [[NodeExport]], isResumed: Bool) throws -> [SourceJob] {
        let rate = RateLimit(bitsPerSecond: command.rate)
        return try moving.map { exports in
            var job = try command.job(for: exports[0], rate: rate, index: configuration.index, formats: formats)
            if isResumed, let records = exports[0].records {
                job.accepted = { try? records.countResumes(of: KeptMigration.self) { $0.answered() } }
            }
            job.siblings = exports.dropFirst().map(\.export.disk)
            return job
        }
    }

    /// Claims exports and records the command, for all disks or for none.
    private func claim(
        _ moving: [[NodeExport]], for migration: GuestMigration, _ command: MigrateCommand, isResumed: Bool
    ) throws {
        var begun: [(NodeExport, SourceMigration)] = []
        do {
            for (exports, disk) in zip(moving, migration.disks) {
                for export in exports {
                    // The export may have been replaced while others were examined.
                    guard self.exports[export.name] === export else { throw NodeError.notReady(export.name) }
                    try export.begin(disk)
                    begun.append((export, disk))
                }
                tellIfNameless(exports[0])
                guard let records = exports[0].records else { continue }
                let resumes = isResumed ? try records.resumes(KeptMigration.self) : ResumeCount()
                try records.keep(KeptMigration(export: exports[0].name, command: command), resumes: resumes)
            }
        } catch {
            for (export, disk) in begun {
                export.forgetRequest(logger)
                export.end(disk)
            }
            throw error
        }
    }

    /// Logs that a disk that is about to move can't be known again later.
    private func tellIfNameless(_ export: NodeExport) {
        guard let image = export.backing?.image else { return }
        if let identity = try? image.identity(), !identity.outlivesProcess {
            let consequence = "it is not served then until nearblock record says whether it has moved"
            logger.notice(
                "\(export.name): \(image.path) can't be known again after a restart; \(consequence); an identity avoids that"
            )
        }
    }

    /// Finds the exports of a command. In the returned command each has its own name, also if the empty one was given.
    private func find(_ command: MigrateCommand) async throws -> ([NodeExport], MigrateCommand) {
        var moving: [NodeExport] = []
        for name in command.exports { moving.append(try await findMovable(name)) }
        var command = command
        command.exports = moving.map(\.name)
        try command.validate()
        guard !isHere(command.destination) else {
            throw NodeError.unusable(
                "\(command.destination) is the --peer-listen address of this node; give --to that of the other node")
        }
        return (moving, command)
    }

    /// Whether an address leads to this node for certain.
    private func isHere(_ address: PeerAddress) -> Bool {
        guard let own = peerAddress, own.port == address.port else { return false }
        return own.host == address.host || (own.isWildcard && address.isLoopback)
    }

    private func findMovable(_ name: String) async throws -> NodeExport {
        if try await find(name).watcher?.look() != nil {
            throw NodeError.unusable(try find(name).imageProblem ?? "the image of \(name) can't be opened")
        }
        let before = try find(name)
        if await registry?.arriving(before.name) != nil { throw NodeError.isArriving(before.name) }
        for other in try SharedImages(exports: Array(exports.values)).others(of: before)
        where await registry?.arriving(other.name) != nil {
            throw NodeError.isArriving(other.name)
        }
        let export = try find(name)
        // The disk may have arrived while the registry was asked.
        guard export === before, !export.isHeldBack else { throw NodeError.isArriving(before.name) }
        return export
    }
}
