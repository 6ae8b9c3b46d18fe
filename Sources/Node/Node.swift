import Block
import Foundation
import Index
import Logging
import Migration
import NBDServer
import NIOCore
import NIOPosix
import Peer
import Ring

/// A running `nearblock serve`: its exports, its clients, its peers, and the commands that it is given.
///
/// 1. `start` opens everything, in the order in which things can fail. 2. It serves until 3. `stop`, which finishes what
/// was asked for.
public actor Node {
    /// What clients may look at of a disk that has not arrived whole.
    private static let missingContext = "nearblock:missing"
    private static let forwardingGrace = Duration.seconds(3)
    /// How long a command to cancel waits until all is as before.
    private static let cancelling = Duration.seconds(3)
    private static let firstRetry = Duration.milliseconds(200)
    private static let longestRetry = Duration.seconds(5)
    /// As long as clients have to take their last replies, and as long again.
    private static let backingGrace = Duration.seconds(7)

    private let configuration: NodeConfiguration
    private let logger: Logger
    private let loops: [Ring.EventLoop]
    private let table = ExportTable()
    private let server: Server
    private let group: MultiThreadedEventLoopGroup
    private let transport: PeerTransport
    private let pools: WorkPools
    private let state: StateDirectory
    private var exports: [String: NodeExport] = [:]
    private var site: DestinationSite?
    private var limits: [String: RateLimit] = [:]
    private var tasks: [Task<Void, Never>] = []
    private let runs = MigrationRuns()
    private var isStopping = false
    /// What keeps the index of an export current, by the export's name.
    private var upkeep: [String: Task<Void, Never>] = [:]
    /// Where NBD clients come in, with the ports that the kernel chose.
    public private(set) var addresses: [ListenAddress] = []

    /// A node that serves nothing yet.
    /// - Throws: where the kernel gives no rings, or the state directory can't be made.
    public init(configuration: NodeConfiguration, logger: Logger) throws {
        self.configuration = configuration
        self.logger = logger
        let cores = ProcessInfo.processInfo.activeProcessorCount
        loops = try (0..<cores).map { try Ring.EventLoop(index: $0) }
        server = Server(exports: table, loops: loops)
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        transport = PeerTransport(group: group)
        pools = WorkPools(threads: max(2, cores))
        state = try StateDirectory(path: configuration.state)
        do { try SourceRecords.settle(in: state) } catch {
            logger.warning("the records of disks that moved together stay as they are: \(error)")
        }
    }

    /// Opens what there is to serve and begins to.
    /// - Returns: a line for each address at which somebody may come in.
    /// - Throws: what can't be opened, in one line.
    public func start() async throws -> [String] {
        table.setListed(configuration.listsExports)
        server.secure(with: try configuration.tls?.open())
        transport.protection = try configuration.openPeerProtection()
        try await openConfigured()
        var lines: [String] = []
        let peer = try await startPeer()
        for address in configuration.listen {
            let bound = try server.listen(on: address)
            addresses.append(bound)
            lines.append("NBD on \(bound)")
        }
        if let peer { lines.append("peers on \(peer)") }
        if let control = try await startControl() { lines.append("control on \(control)") }
        await resume()
        return lines
    }

    /// Goes on with what an earlier life of this node was moving when it was killed.
    private func resume() async {
        var kept: [[String]: [(migration: KeptMigration, export: NodeExport)]] = [:]
        for export in exports.values where export.isAtRest {
            do {
                guard let migration = try export.records?.kept(KeptMigration.self) else { continue }
                kept[migration.command.exports, default: []].append((migration, export))
            } catch {
                logger.error("a migration of \(export.name) that was under way does not go on: \(error)")
            }
        }
        for disks in kept.values {
            var command = disks[0].migration.command
            let names = Dictionary(disks.map { ($0.migration.export, $0.export.name) }) { first, _ in first }
            let list = command.exports.map { names[$0] ?? $0 }.joined(separator: ", ")
            // It was just being begun or given up, or one of the disks is another file now.
            guard command.exports.allSatisfy({ names[$0] != nil }) else {
                for disk in disks { disk.export.records?.forgetRequest() }
                logger.warning("the migration of \(list) that was under way does not go on: not all of them are in it")
                continue
            }
            // An export may have another name now.
            command.exports = command.exports.map { names[$0]! }
            do {
                logger.notice("the migration of \(list) to \(command.destination) goes on")
                try await migrateDetached(command, isResumed: true)
            } catch {
                logger.error("the migration of \(list) that was under way does not go on: \(error)")
            }
        }
    }

    /// Finishes what clients have asked for and ends. Migrations away from here that have not been handed over are
    /// cancelled; the others go on when the node is started again.
    public func stop() async {
        isStopping = true
        await runs.cancel(within: Self.cancelling)
        await site?.stop()
        // A request that another node or server performs gets this long; then its client hears that this node shuts down.
        let links = Task { [exports, site] in
            try? await Task.sleep(for: Self.forwardingGrace)
            for export in exports.values { export.stopForwarding() }
            for export in exports.values where export.isHeldBack {
                await export.export.disk.replaceDevice(ClosedDevice())
                await export.export.disk.unfence()
                export.setHeldBack(false)
            }
            await site?.giveUp()
            try? await Task.sleep(for: Self.backingGrace)
            for export in exports.values { export.backing?.stop() }
        }
        await server.stop()
        links.cancel()
        await links.value
        // Before the control socket goes: who waits for one of them is told how it has ended.
        await runs.end()
        for task in tasks + upkeep.values { task.cancel() }
        for task in tasks + upkeep.values { await task.value }
        for export in exports.values {
            export.stopForwarding()
            await export.waitUntilLinksEnded()
        }
        for loop in loops { loop.stop() }
        try? await group.shutdownGracefully()
        await pools.shutDown()
    }

    // MARK: Commands

    /// How every export is.
    public func status() async -> [ExportStatus] {
        var all = exports.values.map(\.status)
        for index in all.indices {
            if await site?.isDeserted(all[index].export) == true {
                all[index].problem =
                    "its source is not connected; it is waited for, or given up with: nearblock cancel \(all[index].export)"
            }
            guard let arriving = await site?.arriving(all[index].export) else { continue }
            all[index].missing = arriving.missing
            all[index].secondsLeft = arriving.secondsLeft
            if all[index].state == "serving" { all[index].state = "active" }
            all[index].problem = all[index].problem ?? arriving.problem
        }
        return all.sorted { $0.export < $1.export }
    }

    /// Moves exports to another node and returns when they are there.
    /// - Parameter progress: called about four times a second.
    /// - Throws: why not; the exports are then served here as before.
    func migrate(
        _ command: MigrateCommand, progress: @escaping @Sendable (MigrationProgress) -> Void
    ) async throws -> [MigrationReport] {
        let (moving, migration) = try await begin(command)
        let watch = Task {
            while !Task.isCancelled {
                progress(MigrationProgress(of: moving.compactMap { $0.migration?.progress }))
                try? await Task.sleep(for: .milliseconds(250))
            }
        }
        defer { watch.cancel() }
        return try await follow(migration, of: moving).value
    }

    /// What moving exports to another node would take, one after the other; nothing moves.
    /// - Throws: why they could not be moved.
    func estimate(_ command: MigrateCommand) async throws -> [MigrationEstimate] {
        let (moving, command) = try await find(command)
        var estimates: [MigrationEstimate] = []
        var besides: UInt64 = 0
        for export in moving {
            try export.checkIsFree()
            var job = try job(command, for: export, rate: RateLimit(bitsPerSecond: command.rate))
            job.dataBesides = besides
            estimates.append(try await SourceEstimate(job: job, transport: transport, pools: pools).run())
            let data = try await pools.urgent.runIfActive { [image = job.image] in try image.dataBytes() }
            let (sum, overflows) = besides.addingReportingOverflow(data)
            besides = overflows ? .max : sum
        }
        return estimates
    }

    /// Begins to move exports and returns at once.
    func migrateDetached(_ command: MigrateCommand, isResumed: Bool = false) async throws {
        let (moving, migration) = try await begin(command, isResumed: isResumed)
        follow(migration, of: moving)
    }

    /// Gives a migration up, of the export and of those that were to go with it; or a disk that was to come here.
    func cancel(_ name: String) async throws {
        if let site, let export = table.find(name)?.description.name, exports[export]?.backing == nil {
            guard await site.withdraw(export) else {
                throw NodeError.unusable("\(export) is on its way here; cancel it at its source")
            }
            return
        }
        let (export, migration) = try findMigration(name)
        guard migration.cancel() else { throw NodeError.tooLateToCancel(export.name) }
        for other in exports.values where other.migration?.isTogether(with: migration) == true {
            other.records?.forgetRequest()
        }
        // The last word to the destination takes a moment.
        let end = ContinuousClock.now + Self.cancelling
        while export.migration === migration, ContinuousClock.now < end { try await Task.sleep(for: .milliseconds(5)) }
    }

    /// Hands a disk over now, and those that go with it.
    func switchOver(_ name: String) throws {
        let (export, migration) = try findMigration(name)
        guard migration.switchOver() else { throw NodeError.tooLateToSwitch(export.name) }
    }

    /// Has clients see what was written since the last checkpoint; or has the next one show that again.
    func checkpoint(_ name: String, hasFailed: Bool) async throws {
        let export = try find(name)
        guard let bitmap = export.bitmap else { throw NodeError.noBitmap(export.name) }
        guard !export.hasMoved else {
            throw NodeError.unusable("\(export.name) has moved, and what is written to it elsewhere is not noted here")
        }
        if hasFailed { await bitmap.failed() } else { await bitmap.checkpoint() }
    }

    /// Changes the limit of a migration, all its disks together; nil for no limit.
    func setRate(_ name: String, bitsPerSecond: UInt64?) throws {
        let export = try find(name)
        guard let rate = export.rate else { throw NodeError.notMigrating(export.name) }
        guard bitsPerSecond != 0 else {
            throw NodeError.unusable("a rate of 0 would never end; give at least 1 bit a second")
        }
        rate.set(bitsPerSecond: bitsPerSecond)
    }

    /// Brings a migration to its end, whoever waits for it.
    @discardableResult
    private func follow(
        _ migration: GuestMigration, of moving: [NodeExport]
    ) -> Task<[MigrationReport], any Error> {
        let task = Task { try await run(migration, of: moving) }
        runs.add(MigrationRun(exports: moving, task: task))
        return task
    }

    private func findMigration(_ name: String) throws -> (NodeExport, SourceMigration) {
        let export = try find(name)
        guard let migration = export.migration else { throw NodeError.notMigrating(export.name) }
        return (export, migration)
    }

    private func begin(
        _ command: MigrateCommand, isResumed: Bool = false
    ) async throws -> ([NodeExport], GuestMigration) {
        let (moving, command) = try await find(command)
        guard !isStopping else { throw NodeError.unusable("this node is about to end") }
        let rate = RateLimit(bitsPerSecond: command.rate)
        let migration = GuestMigration(
            jobs: try moving.map { try job(command, for: $0, rate: rate) }, transport: transport, pools: pools,
            logger: logger, isResumed: isResumed)
        var begun: [(NodeExport, SourceMigration)] = []
        do {
            for (export, disk) in zip(moving, migration.disks) {
                // Replaced while others were looked for.
                guard exports[export.name] === export else { throw NodeError.notReady(export.name) }
                try export.begin(disk)
                begun.append((export, disk))
                try export.records?.keep(KeptMigration(export: export.name, command: command))
            }
        } catch {
            for (export, disk) in begun {
                export.records?.forgetRequest()
                export.end(disk)
            }
            throw error
        }
        return (moving, migration)
    }

    /// The exports of a command, and the command with the names that they have: the empty one is another's too.
    private func find(_ command: MigrateCommand) async throws -> ([NodeExport], MigrateCommand) {
        var moving: [NodeExport] = []
        for name in command.exports { moving.append(try await findMovable(name)) }
        var command = command
        command.exports = moving.map(\.name)
        try command.validate()
        return (moving, command)
    }

    private func findMovable(_ name: String) async throws -> NodeExport {
        let before = try find(name)
        if await site?.arriving(before.name) != nil { throw NodeError.isArriving(before.name) }
        let export = try find(name)
        // It may have arrived between the question and the answer.
        guard export === before, !export.isHeldBack else { throw NodeError.isArriving(before.name) }
        return export
    }

    private func job(_ command: MigrateCommand, for export: NodeExport, rate: RateLimit) throws -> SourceJob {
        if let problem = ExportName.problem(with: export.name) { throw NodeError.unusable(problem) }
        let isReadOnly = export.export.description.isReadOnly
        guard !isReadOnly || command.switchover != .firstWrite else { throw NodeError.readOnly(export.name) }
        guard let backing = export.backing else { throw NodeError.isArriving(export.name) }
        guard let image = backing.image, let records = export.records else {
            throw NodeError.unusable(
                "\(export.name) is another server's disk; only raw files and block devices can be migrated from here")
        }
        var job = SourceJob(
            export: export.name, disk: export.export.disk, image: image,
            destination: command.destination, switchover: command.switchover,
            maximumPause: command.maximumPause.map { .seconds($0) }, rate: rate, records: records)
        job.showing = { [maps = export.export.maps] map in
            let name = ChangeBitmap.namespace + ChangeBitmap.migrationName
            if let map { maps.show(BlockMarks(dirty: map), as: name) } else { maps.retire(name) }
        }
        job.isReadOnly = isReadOnly
        job.checksSpace = command.skipsSpaceCheck != true
        job.domains = command.domains
        job.maximumRounds = command.maximumRounds ?? .max
        job.dirtyThreshold = command.dirtyThreshold ?? 0
        return job
    }

    private func run(_ first: GuestMigration, of moving: [NodeExport]) async throws -> [MigrationReport] {
        let names = moving.map(\.name).joined(separator: ", ")
        let destination = first.disks[0].destination
        logger.info("migrating \(names) to \(destination)")
        var migration = first
        defer {
            for (export, disk) in zip(moving, migration.disks) {
                // Whatever the end is, but for that of the process.
                export.records?.forgetRequest()
                export.end(disk)
            }
        }
        var delay = Self.firstRetry
        while true {
            do {
                let disks = migration.disks
                let reports = try await migration.run(
                    supplying: { moving[$0].supply(by: $1) }, forwarding: { moving[$0].moved(by: $1) },
                    finished: { moving[$0].end(disks[$0]) })
                logger.info("\(names): moved to \(destination); clients here are forwarded there")
                return reports
            } catch {
                guard let next = migration.again() else {
                    logger.warning("the migration of \(names) to \(destination) has ended: \(error)")
                    throw error
                }
                logger.warning("\(error); the migration of \(names) goes on when the destination answers")
                // At once, so that commands of the meantime are heard.
                guard !migration.disks[0].isCancelled else { throw MigrationError.cancelled }
                for (export, disk) in zip(moving, next.disks) { export.replace(with: disk) }
                try? await Task.sleep(for: delay)
                delay = min(delay * 2, Self.longestRetry)
                migration = next
            }
        }
    }

    private func find(_ name: String) throws -> NodeExport {
        guard let export = table.find(name).flatMap({ exports[$0.description.name] }) else {
            throw NodeError.noSuchExport(name, known: exports.keys.sorted())
        }
        return export
    }

    // MARK: Configuration

    /// Serves one client on a socket that is connected already, and returns once it has gone.
    public func serve(_ socket: CInt) async {
        await server.serve(socket)
    }

    /// Takes over what may change while the node runs: its exports, and certificates and keys. Clients that are
    /// connected keep what they have.
    /// - Throws: `TLSError`, `PeerError`; nothing has changed then. An export that can't be opened is logged, and the
    ///   rest goes on.
    public func reload(_ new: NodeConfiguration) async throws {
        let protection = try new.openPeerProtection()
        // The address stays what it is until the node is started anew.
        if let address = configuration.peerListen { try protection.checkListening(on: address) }
        server.secure(with: try new.tls?.open())
        transport.protection = protection
        table.setListed(new.listsExports)
        var renamed: [NodeExport] = []
        for (name, export) in exports {
            guard let old = export.configuration, !new.exports.contains(where: { $0 == old }) else { continue }
            guard export.isAtRest else {
                logger.warning("\(name) is moving or has moved; it stays as it is")
                continue
            }
            if let changed = new.exports.first(where: { $0.name == name && $0.sharesBacking(with: old) }) {
                await replace(export, with: changed)
            } else {
                table.remove(name)
                exports[name] = nil
                upkeep.removeValue(forKey: name)?.cancel()
                // What nobody is to have any more is closed here, or by its last client.
                if new.exports.contains(where: { $0.sharesBacking(with: old) }) { renamed.append(export) }
                logger.notice("\(name) is no longer offered")
            }
        }
        for export in new.exports where exports[export.name] == nil {
            do {
                if let index = renamed.firstIndex(where: { $0.configuration?.sharesBacking(with: export) ?? false }) {
                    await replace(renamed.remove(at: index), with: export)
                } else {
                    try await open(export)
                }
                logger.notice("\(export.name) is offered")
            } catch {
                logger.error("\(export.name) is not offered: \(error)")
            }
        }
    }

    /// The same disk under another description, or another name: clients that are there still have it open.
    private func replace(_ old: NodeExport, with configuration: ExportConfiguration) async {
        guard let backing = old.backing else { return }
        let export = Self.export(configuration, disk: old.export.disk, backing: backing, maps: old.export.maps)
        table.replace(with: export, isDefault: configuration.isDefault)
        // What was noted goes on under the same name.
        let keepsBitmap = old.configuration?.dirtyBitmap == configuration.dirtyBitmap
        let replaced = NodeExport(
            export: export, configuration: configuration, backing: backing, records: old.records,
            bitmap: keepsBitmap ? old.bitmap : bitmap(configuration, of: export))
        replaced.setHeldBack(old.isHeldBack)
        exports[configuration.name] = replaced
        keepIndex(of: replaced)
        guard !keepsBitmap else { return }
        await old.bitmap?.stop()
        await replaced.bitmap?.start()
    }

    /// What notes the writes to an export for backups, where that is wanted; it has not begun.
    private func bitmap(_ configuration: ExportConfiguration, of export: Export) -> ChangeBitmap? {
        configuration.dirtyBitmap.flatMap { ChangeBitmap(name: $0, disk: export.disk, maps: export.maps) }
    }

    /// Where the node is told to, keeps the index of what it serves current.
    private func keepIndex(of export: NodeExport) {
        guard let interval = configuration.keepIndex, let index = configuration.index, upkeep[export.name] == nil,
            let image = export.backing?.image, export.isAtRest
        else { return }
        let work = IndexUpkeep(
            disk: export.export.disk, path: image.path, directory: index, interval: interval, logger: logger)
        upkeep[export.name] = Task { await work.run() }
    }

    private static func export(
        _ configuration: ExportConfiguration, disk: Disk, backing: Backing, maps: ExportMaps = ExportMaps()
    ) -> Export {
        Export(
            name: configuration.name, disk: disk, isReadOnly: backing.isReadOnly,
            isRotational: configuration.isRotational ?? backing.isRotational, text: configuration.text,
            isSynchronous: configuration.isSynchronous, maps: maps)
    }

    // MARK: Opening

    private func openConfigured() async throws {
        var failure: (any Error)?
        for export in configuration.exports {
            do {
                try await open(export)
            } catch  where export.mayBeMissing {
                logger.error("\(export.name) is not offered: \(error)")
                failure = error
            }
        }
        if exports.isEmpty, let failure { throw failure }
    }

    private func open(_ configured: ExportConfiguration) async throws {
        let backing = try await Backing.open(configured, loops: loops)
        let disk = try add(configured, backing, isConfigured: true)
        await exports[configured.name]?.bitmap?.start()
        guard let image = backing.image, let export = exports[configured.name], export.isAtRest,
            try DestinationSite.isIncomplete(image, in: state)
        else { return }
        guard configuration.peerListen != nil else {
            throw NodeError.unusable(
                "\(image.path) has come back here and is not whole yet: start with --peer-listen and --images as before"
            )
        }
        await disk.fence()
        export.setHeldBack(true)
    }

    /// Serves a disk, or forwards its clients where it was given away in an earlier life: serving it here again would
    /// make two writers (invariant 5).
    @discardableResult
    private func add(
        _ configuration: ExportConfiguration, _ backing: Backing, isConfigured: Bool, arrived: ArrivedDisk? = nil
    ) throws -> Disk {
        let name = configuration.name
        let records = backing.image.map { SourceRecords(directory: state, image: $0) }
        let moved = try records?.moved()
        let link = moved.map { ForwardLink(record: $0, transport: transport, logger: logger) }
        let device = link.map { ForwardingDevice(forwarder: $0) } ?? arrived?.device ?? backing.device
        let disk = arrived?.early ?? Disk(size: backing.size, device: device, loops: loops)
        let export = Self.export(configuration, disk: disk, backing: backing)
        if arrived?.early != nil {
            table.replace(with: export, isDefault: configuration.isDefault)
        } else {
            guard table.add(export, isDefault: configuration.isDefault) else { throw NodeError.nameTaken(name) }
        }
        let added = NodeExport(
            export: export, configuration: isConfigured ? configuration : nil, backing: backing, records: records,
            bitmap: bitmap(configuration, of: export))
        exports[name] = added
        if let moved, let link, let records {
            records.forgetRequest()
            added.moved(by: link)
            let supply = SupplyLink(
                record: moved, image: records.image, records: records, rate: limit(of: moved), transport: transport,
                pools: pools, logger: logger)
            if let supply { added.supply(by: supply) }
            let advice = "to serve this file here all the same, as a second copy, remove \(records.movedFile)"
            logger.notice(
                "\(configuration.backing) has moved to \(moved.destination), and clients are forwarded there; \(advice)"
            )
        }
        keepIndex(of: added)
        return disk
    }

    /// Disks that moved to one place under one limit share it, as they did before this node was started again.
    private func limit(of moved: MovedRecord) -> RateLimit {
        let key = "\(moved.destination) \(moved.rate ?? 0)"
        let limit = limits[key] ?? RateLimit(bitsPerSecond: moved.rate)
        limits[key] = limit
        return limit
    }

    /// Serves a disk that has come here; one that had moved away from here goes on where its clients are.
    private func addArrived(_ arrived: ArrivedDisk) async throws -> Disk {
        let disk = try await serveArrived(arrived)
        if let map = arrived.map, let export = exports[arrived.export] {
            export.export.maps.show(BlockMarks(missing: map), as: Self.missingContext)
        }
        return disk
    }

    private func serveArrived(_ arrived: ArrivedDisk) async throws -> Disk {
        if let movedBy = arrived.supersedes {
            try SourceRecords(directory: state, image: arrived.image).returned(from: movedBy)
        }
        if arrived.isReturn, let export = exports[arrived.export] {
            // Restarted after it had moved on: the node's own records have it forwarded, and that stays so.
            guard try export.records?.moved() == nil else { return export.export.disk }
            if export.isHeldBack {
                await export.export.disk.replaceDevice(arrived.device)
                await export.export.disk.unfence()
                export.setHeldBack(false)
            } else {
                await export.export.disk.switchDevice(arrived.device)
            }
            export.returned()
            return export.export.disk
        }
        return try add(
            ExportConfiguration(
                backing: arrived.image.path, name: arrived.export, isReadOnly: arrived.isReadOnly),
            Backing(arrived.image, isReadOnly: arrived.isReadOnly), isConfigured: false, arrived: arrived)
    }

    /// Answers clients of a disk that is still to come.
    private func announce(_ name: String, _ size: UInt64, _ device: BlockDevice) throws -> Disk {
        let disk = Disk(size: size, device: device, loops: loops)
        let export = Export(
            name: name, disk: disk, isReadOnly: (device as? IncomingDevice)?.isReadOnly ?? false, isRotational: false,
            text: "", isSynchronous: false)
        guard table.add(export, isDefault: false) else { throw NodeError.nameTaken(name) }
        exports[name] = NodeExport(export: export, configuration: nil, backing: nil, records: nil)
        return disk
    }

    private func withdraw(_ name: String) {
        guard let export = exports[name], export.backing == nil else { return }
        table.remove(name)
        exports[name] = nil
    }

    /// No block of the disk is missing any more.
    private func completed(_ name: String) { exports[name]?.export.maps.remove(Self.missingContext) }

    /// An image here that has moved away and is needed by nobody: its disk may come back into it.
    private func base(_ name: String, isRestored: Bool) -> ImageBase? {
        guard let export = exports[name], let image = export.backing?.image else { return nil }
        if isRestored { return ImageBase(image: image, movedBy: MigrationID()) }
        guard export.isReleased, let moved = try? export.records?.moved(), moved.isReleased else { return nil }
        return ImageBase(image: image, movedBy: moved.migration)
    }

    private func startPeer() async throws -> PeerAddress? {
        guard let address = configuration.peerListen else { return nil }
        guard let images = configuration.images else {
            throw NodeError.missingOption("--peer-listen", needs: "--images DIR, where disks that arrive go")
        }
        let hooks = DestinationSite.Hooks(
            isNameTaken: { [table] in table.find($0)?.description.name == $0 },
            announce: { [weak self] name, size, device in
                guard let self else { throw CancellationError() }
                return try await announce(name, size, device)
            },
            withdraw: { [weak self] in await self?.withdraw($0) },
            base: { [weak self] in await self?.base($0, isRestored: $1) },
            completed: { [weak self] in await self?.completed($0) },
            activate: { [weak self] arrived in
                guard let self else { throw CancellationError() }
                return try await addArrived(arrived)
            })
        let index = configuration.index
        let site = try DestinationSite(
            images: images, state: state, pools: pools, logger: logger,
            index: { index.flatMap { try? NeighbourIndex.open(directory: $0) } },
            keptIndex: configuration.keepIndex == nil ? nil : index,
            refusesEarlyWrites: configuration.refusesEarlyWrites, hooks: hooks)
        try await site.restore()
        self.site = site
        let loop = loops[0]
        let migrations = DestinationMigration(
            site: site, indexDirectory: configuration.index, pools: pools, logger: logger
        ) { DiskClient(disk: $0, loop: loop) }
        let listener = try await PeerListener(on: address, transport: transport)
        let logger = logger
        tasks.append(
            Task {
                await listener.run(refused: { logger.notice("a peer at \($0) is not let in: \($1)") }) {
                    await migrations.serve($0)
                }
            })
        if case .insecure = transport.protection, !address.isLoopback {
            logger.warning("whoever reaches \(listener.address) can read disks that arrive, and bring their own")
        }
        return listener.address
    }

    private func startControl() async throws -> String? {
        guard let path = configuration.control ?? configuration.defaultControl else { return nil }
        do {
            let control = try await ControlServer(path: path, group: group, node: self)
            tasks.append(Task { await control.run() })
            return path
        } catch  where configuration.control == nil {
            logger.warning(
                "no control socket, so no migrations from here: \(error); give one with --control PATH")
            return nil
        }
    }
}
