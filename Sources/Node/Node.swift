import Block
import BlockModel
import Foundation
import Index
import Logging
import Migration
import MigrationCore
import MigrationProtocol
import NBDServer
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Peer
import PeerModel
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
    /// Images that are looked at together.
    private static let looksAtOnce = 8

    private let configuration: NodeConfiguration
    private let logger: Logger
    /// For what peers say and do.
    private let peerLogger: Logger
    private let loops: [Ring.EventLoop]
    private let table = ExportTable()
    private let server: Server
    private let group: MultiThreadedEventLoopGroup
    private let transport: PeerTransport
    private let pools: WorkPools
    private let formats: FormatWarnings
    private let state: StateDirectory
    /// nil where another node may use the state directory, which this one only reads then.
    private var stateLock: StateLock?
    private var exports: [String: NodeExport] = [:]
    /// Exports of the configuration that can't be served, and why not.
    private let heldBack = NIOLockedValueBox<[String: String]>([:])
    /// Who stands at the paths of the configuration.
    private let standing = StandingImages()
    private var site: IncomingDiskRegistry?
    private var limits: [String: RateLimit] = [:]
    private var tasks: [Task<Void, Never>] = []
    private let runs = MigrationRuns()
    private var isStopping = false
    /// What keeps the index of an export current, by the export's name.
    private var upkeep: [String: Task<Void, Never>] = [:]
    /// What did so for an export that is no longer offered, or for another image, and may still be at its last table.
    private var endingUpkeep: [String: Task<Void, Never>] = [:]
    /// Where NBD clients come in, with the ports that the kernel chose.
    public private(set) var addresses: [ListenAddress] = []

    /// A node that serves nothing yet.
    /// - Throws: where the kernel gives no rings, or the state directory can't be made.
    public init(configuration: NodeConfiguration, logger: Logger) throws {
        self.configuration = configuration
        self.logger = logger
        var peerLogger = logger
        peerLogger.handler = PeerLogHandler(logger.handler)
        self.peerLogger = peerLogger
        let cores = ProcessInfo.processInfo.activeProcessorCount
        loops = try (0..<cores).map { try Ring.EventLoop(index: $0) }
        server = Server(exports: table, loops: loops)
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        transport = PeerTransport(group: group)
        pools = WorkPools(threads: max(2, cores))
        formats = FormatWarnings { logger.warning("\($0)") }
        state = try StateDirectory(path: configuration.state)
        stateLock = try StateLock.acquire(
            in: configuration.state, isNeeded: configuration.needsState
        ) { logger.warning("\($0)") }
        guard stateLock != nil else { return }
        do { try SourceRecords.makeIndependent(in: state) } catch {
            logger.warning("the records of disks that moved together stay as they are: \(error)")
        }
    }

    /// Opens what there is to serve and begins to.
    /// - Returns: a line for each address at which somebody may come in.
    /// - Throws: what can't be opened, in one line.
    public func start() async throws -> [String] {
        try configuration.checkEncryption()
        table.setListed(configuration.listsExports)
        server.secure(with: try configuration.tls?.open())
        transport.protection = try configuration.openPeerProtection()
        try await openConfigured()
        var lines: [String] = []
        let peer = try await startPeer()
        for address in configuration.listen {
            let bound = try server.listen(on: address, permissions: configuration.socketPermissions)
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
        // It may be another node's that runs.
        guard stateLock != nil else { return }
        let groups = KeptMigrationGroup.all(of: exports.values) { export, error in
            logger.error("a migration of \(export.name) that was under way does not go on: \(error)")
        }
        for group in groups {
            guard group.isWhole else {
                for export in group.exports { export.forgetRequest(logger) }
                logger.warning(
                    "the migration of \(group.list) that was under way does not go on: not all of them are in it")
                continue
            }
            do {
                if let problem = try group.begin() {
                    for export in group.exports { export.note(putAside: problem) }
                    logger.error("\(group.list): \(problem)")
                    continue
                }
                logger.notice("the migration of \(group.list) to \(group.command.destination) goes on")
                try await migrateDetached(group.command, isResumed: true)
                tasks.append(Task { await group.outlive() })
            } catch {
                // The process has outlived it.
                try? group.count { $0.settled() }
                logger.error("the migration of \(group.list) that was under way does not go on: \(error)")
            }
        }
    }

    /// Drops what was put aside, of the export and of those that were to go with it.
    /// - Returns: false where nothing was.
    private func dropPutAside(_ name: String) throws -> Bool {
        let export = try find(name)
        let groups = KeptMigrationGroup.all(of: exports.values) { _, _ in }
        guard let group = groups.first(where: { $0.exports.contains { $0 === export } }) else { return false }
        for export in group.exports {
            if let failure = export.forgetRequest(logger) {
                throw NodeError.cancelledUnnoted(export.name, reason: "\(failure)")
            }
            export.note(putAside: nil)
        }
        logger.notice("the migration of \(group.list) that was put aside is dropped")
        return true
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
        for task in tasks + upkeep.values + endingUpkeep.values { task.cancel() }
        for task in tasks + upkeep.values + endingUpkeep.values { await task.value }
        for export in exports.values {
            export.stopForwarding()
            await export.waitUntilLinksEnded()
        }
        for loop in loops { loop.stop() }
        try? await group.shutdownGracefully()
        await pools.shutDown()
        stateLock = nil
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
        for (name, size) in await site?.waitingForSources ?? [] {
            let problem =
                "it waits for its source to say whether it has given the disk away; if that node will not come back: "
                + "nearblock cancel \(name) --source-is-gone"
            if let place = all.firstIndex(where: { $0.export == name }) {
                if all[place].state == "incoming" { all[place].problem = problem }
            } else {
                all.append(
                    ExportStatus(export: name, size: size, readOnly: false, state: "incoming", problem: problem))
            }
        }
        let unserved = await site?.unserved ?? [:]
        for (name, reason) in heldBack.withLockedValue({ $0 }).merging(
            unserved, uniquingKeysWith: { first, _ in first })
        {
            if let place = all.firstIndex(where: { $0.export == name }) {
                all[place].problem = all[place].problem ?? reason
                continue
            }
            all.append(ExportStatus(export: name, size: 0, readOnly: false, state: "held back", problem: reason))
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
                progress(MigrationProgress(of: moving.compactMap { $0[0].migration?.progress }))
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
    /// - Parameter isSourceGone: of a disk that was to come here: also one that its source may have given away already.
    func cancel(_ name: String, isSourceGone: Bool = false) async throws {
        let known = table.find(name).flatMap { exports[$0.description.name] }
        if known != nil, try dropPutAside(name) { return }
        if let site, known?.migration == nil,
            try await Self.cancelArrival(
                of: known?.name ?? name, at: site, isSourceGone: isSourceGone,
                hasLeft: known?.hasMoved == true)
        {
            return
        }
        let (export, migration) = try findMigration(name)
        guard migration.cancel() else { throw NodeError.tooLateToCancel(export.name) }
        var failure: (any Error)?
        for other in exports.values where other.migration?.isTogether(with: migration) == true {
            failure = other.forgetRequest(logger) ?? failure
        }
        // The last word to the destination takes a moment.
        let end = ContinuousClock.now + Self.cancelling
        while export.migration === migration, !migration.hasCommitted, ContinuousClock.now < end {
            try await Task.sleep(for: .milliseconds(5))
        }
        if let problem = migration.problem { throw NodeError.unusable("\(export.name): \(problem)") }
        if migration.hasCommitted { throw NodeError.tooLateToCancel(export.name) }
        if let failure { throw NodeError.cancelledUnnoted(export.name, reason: "\(failure)") }
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
        _ migration: GuestMigration, of moving: [[NodeExport]]
    ) -> Task<[MigrationReport], any Error> {
        let task = Task { try await run(migration, of: moving) }
        runs.add(MigrationRun(exports: moving.flatMap(\.self), task: task))
        return task
    }

    private func findMigration(_ name: String) throws -> (NodeExport, SourceMigration) {
        let export = try find(name)
        guard let migration = export.migration else { throw NodeError.notMigrating(export.name) }
        return (export, migration)
    }

    private func begin(
        _ command: MigrateCommand, isResumed: Bool = false
    ) async throws -> ([[NodeExport]], GuestMigration) {
        let (found, command) = try await find(command)
        guard !isStopping else { throw NodeError.unusable("this node is about to end") }
        let rate = RateLimit(bitsPerSecond: command.rate)
        let moving = try found.map { [$0] + (try siblings(of: $0)) }
        if let twin = moving.lazy.flatMap({ $0.dropFirst() }).first(where: { twin in found.contains { $0 === twin } }) {
            throw NodeError.unusable(
                "\(twin.name) is another export of an image that the command names already; name one of them")
        }
        let migration = GuestMigration(
            jobs: try moving.map { exports in
                var job = try job(command, for: exports[0], rate: rate)
                if isResumed, let records = exports[0].records {
                    job.accepted = { try? records.countResumes(of: KeptMigration.self) { $0.answered() } }
                }
                job.siblings = exports.dropFirst().map(\.export.disk)
                return job
            }, transport: transport, pools: pools, logger: peerLogger, isResumed: isResumed)
        var begun: [(NodeExport, SourceMigration)] = []
        do {
            for (exports, disk) in zip(moving, migration.disks) {
                for export in exports {
                    // Replaced while others were looked for.
                    guard self.exports[export.name] === export else { throw NodeError.notReady(export.name) }
                    try export.begin(disk)
                    begun.append((export, disk))
                }
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
        return (moving, migration)
    }

    /// The other exports here of the image of `export`: they are handed over with it, or whoever reads them would go on reading
    /// what is left behind.
    /// - Throws: `NodeError` where the disk is another's to move.
    private func siblings(of export: NodeExport) throws -> [NodeExport] {
        let others = try sharing(export)
        if export.backing?.isReadOnly == true, let writable = others.first(where: { $0.backing?.isReadOnly == false }) {
            throw NodeError.unusable(
                "\(export.name) is a read-only view of what \(writable.name) serves; migrate \(writable.name)")
        }
        if let part = others.first(where: { $0.export.description.size != export.export.description.size }) {
            throw NodeError.unusable(
                "\(export.name) and \(part.name) give out one image in different sizes; remove one of them to migrate the other"
            )
        }
        if let waiting = others.first(where: \.isHeldBack) { throw NodeError.isArriving(waiting.name) }
        return others
    }

    /// The other exports here that lead to the image of `export`.
    /// - Throws: `NodeError` where one leads to it in another way, so that nobody knows which of its bytes are the same.
    private func sharing(_ export: NodeExport) throws -> [NodeExport] {
        guard let image = export.backing?.image else { return [] }
        let (file, identity) = (image.fileNumber, try image.identity())
        return try exports.values.filter { other in
            guard other !== export, let theirs = other.backing?.image else { return false }
            if try image.isOpenOnSame(as: theirs) { return true }
            guard let identity, let known = try theirs.identity(), file == theirs.fileNumber else { return false }
            if identity.sharesFile(with: known) {
                throw NodeError.unusable(
                    "\(export.name) and \(other.name) lead to one file, directly and through a loop device; "
                        + "remove one of them to migrate the other")
            }
            return identity.isSame(as: known)
        }
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
        if try await find(name).watcher?.look() != nil {
            throw NodeError.unusable(try find(name).imageProblem ?? "the image of \(name) can't be opened")
        }
        let before = try find(name)
        if await site?.arriving(before.name) != nil { throw NodeError.isArriving(before.name) }
        for other in try sharing(before) where await site?.arriving(other.name) != nil {
            throw NodeError.isArriving(other.name)
        }
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
        try records.checkIsIdentified()
        formats.check(image, .moved)
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

    /// - Parameter moving: for each disk its export, then the other exports of its image.
    private func run(_ first: GuestMigration, of moving: [[NodeExport]]) async throws -> [MigrationReport] {
        let names = moving.map(\.[0].name).joined(separator: ", ")
        let destination = first.disks[0].destination
        logger.info("migrating \(names) to \(destination)")
        var migration = first
        defer {
            for (exports, disk) in zip(moving, migration.disks) {
                // Whatever the end is, but for that of the process.
                exports[0].forgetRequest(logger)
                for export in exports {
                    export.end(disk)
                    // What has happened to the image meanwhile can be taken up now.
                    export.watcher?.look { _ in }
                }
            }
        }
        var delay = Self.firstRetry
        while true {
            do {
                let disks = migration.disks
                let reports = try await migration.run(
                    supplying: { place, link in for export in moving[place] { export.supply(by: link) } },
                    forwarding: { place, link in for export in moving[place] { export.moved(by: link) } },
                    finished: { place in for export in moving[place] { export.end(disks[place]) } })
                logger.info("\(names): moved to \(destination); clients here are forwarded there")
                for exports in moving { await passOn(exports[0]) }
                return reports
            } catch {
                guard let next = migration.again() else {
                    logger.warning("the migration of \(names) to \(destination) has ended: \(error)")
                    throw error
                }
                logger.warning("\(error); the migration of \(names) goes on when the destination answers")
                // At once, so that commands of the meantime are heard.
                guard !migration.disks[0].isCancelled else { throw MigrationError.cancelled }
                for (exports, disk) in zip(moving, next.disks) { for export in exports { export.replace(with: disk) } }
                try? await Task.sleep(for: delay)
                delay = min(delay * 2, Self.longestRetry)
                migration = next
            }
        }
    }

    /// Nodes that forward their clients here are told where the disk is now.
    private func passOn(_ export: NodeExport) async {
        guard let (link, supply) = export.onward else { return }
        await site?.passOn(export.export.disk, over: link, supply: supply)
    }

    private func find(_ name: String) throws -> NodeExport {
        guard let export = table.find(name).flatMap({ exports[$0.description.name] }) else {
            if let reason = heldBack.withLockedValue({ $0[name] }) { throw NodeError.heldBack(name, reason: reason) }
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
    /// - Parameter started: what the files and the command line said when the node was started.
    public func reload(_ new: NodeConfiguration, started: NodeConfiguration) async throws {
        try new.checkEncryption()
        let protection = try new.openPeerProtection()
        // The address stays what it is until the node is started anew.
        if let address = configuration.peerListen { try protection.checkListening(on: address) }
        server.secure(with: try new.tls?.open())
        transport.protection = protection
        table.setListed(new.listsExports)
        for key in new.fixedKeys(changedSince: started) {
            logger.warning("\(key) has changed, which a node takes over only when it is started again")
        }
        standing.look(at: new.exports)
        heldBack.withLockedValue { $0 = [:] }
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
                endUpkeep(of: name)
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
                holdBack(export, error)
            }
        }
        lookAtAll()
    }

    /// The same disk under another description, or another name: clients that are there still have it open.
    private func replace(_ old: NodeExport, with configuration: ExportConfiguration) async {
        guard let backing = old.backing else { return }
        let export = export(configuration, disk: old.export.disk, backing: backing, replacing: old.export)
        table.replace(with: export, isDefault: configuration.isDefault)
        // What was noted goes on under the same name.
        let keepsBitmap = old.configuration?.dirtyBitmap == configuration.dirtyBitmap
        let replaced = NodeExport(
            export: export, configuration: configuration, backing: backing, records: old.records,
            bitmap: keepsBitmap ? old.bitmap : bitmap(configuration, of: export))
        replaced.resume(from: old)
        exports[configuration.name] = replaced
        watch(replaced)
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
        // Its last table would stand in the place of a newer one.
        let previous = endingUpkeep.removeValue(forKey: export.name)
        upkeep[export.name] = Task {
            await previous?.value
            await work.run()
        }
    }

    private func endUpkeep(of name: String) {
        guard let task = upkeep.removeValue(forKey: name) else { return }
        task.cancel()
        endingUpkeep[name] = task
    }

    /// Where requests are noted that the device of an export fails; the log hears of them now and then.
    private func failures(of name: String) -> RequestFailures {
        RequestFailures { [logger] in logger.error("\(name): \($0)") }
    }

    private func export(
        _ configuration: ExportConfiguration, disk: Disk, backing: Backing, replacing old: Export? = nil
    ) -> Export {
        Export(
            name: configuration.name, disk: disk, isReadOnly: backing.isReadOnly,
            isRotational: configuration.isRotational ?? backing.isRotational, text: configuration.text,
            isSynchronous: configuration.isSynchronous, requiresTLS: configuration.requiresTLS,
            maximumConnections: configuration.maximumConnections, maps: old?.maps ?? ExportMaps(),
            connections: old?.connections ?? ConnectionCount(),
            failures: old.flatMap { $0.description.name == configuration.name ? $0.failures : nil }
                ?? failures(of: configuration.name),
            refused: refusals(by: configuration))
    }

    /// Where clients are noted that the limit of an export keeps out.
    private func refusals(by configuration: ExportConfiguration) -> RefusedClients? {
        guard let limit = configuration.maximumConnections else { return nil }
        return RefusedClients { [logger, name = configuration.name] count in
            let clients = count == 1 ? "a client was" : "\(count) clients were"
            logger.warning(
                "\(name): \(clients) refused, as it has \(limit) already (max-connections); more are told of once a minute"
            )
        }
    }

    // MARK: Opening

    private func openConfigured() async throws {
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

    /// Says that an export of the configuration can't be served; SIGHUP tries it again.
    private func holdBack(_ export: ExportConfiguration, _ reason: any Error) {
        heldBack.withLockedValue { $0[export.name] = "\(reason)" }
        logger.error("\(export.name) is not offered: \(reason)")
    }

    /// - Parameter old: the export in whose place it is put.
    private func open(_ configured: ExportConfiguration, replacing old: NodeExport? = nil) async throws {
        if let problem = configured.stringProblem { throw NodeError.unusable(problem) }
        let backing = try await Backing.open(configured, loops: loops)
        let unfinished = try backing.image.flatMap {
            try IncomingRecord.incomplete($0, in: state, elsewhere: { standing.identities })
        }
        if let unfinished { try checkMayFinish(unfinished, at: configured.backing) }
        if let old, exports[configured.name] !== old || !old.isAtRest { throw NodeError.notReady(configured.name) }
        formats.check(backing.image, .served)
        let disk = try add(configured, backing, isConfigured: true, replacing: old)
        await old?.bitmap?.stop()
        await exports[configured.name]?.bitmap?.start()
        guard unfinished != nil, let export = exports[configured.name], export.isAtRest else { return }
        await disk.fence()
        export.setHeldBack(true)
    }

    /// A disk that comes back into an image of the configuration is served once the rest of it can be asked for.
    /// - Throws: `NodeError` where this node can't do that.
    private func checkMayFinish(_ record: IncomingRecord, at path: String) throws {
        guard record.isReturn else {
            throw NodeError.unusable(
                "\(path) is an image that \(record.export) arrives in, and it is not whole yet; leave it to the node "
                    + "that takes it in with --images")
        }
        // What is taken up at the start lets go of it again; later there is nobody who does.
        guard site == nil else {
            throw NodeError.unusable("\(path) is not whole yet; send SIGHUP again once nothing of it is missing")
        }
        guard configuration.peerListen != nil else {
            throw NodeError.unusable(
                "\(path) has come back here and is not whole yet: start with --peer-listen and --images as before")
        }
    }

    /// Serves a disk, or forwards its clients where it was given away in an earlier life: serving it here again would
    /// make two writers (invariant 5).
    @discardableResult
    private func add(
        _ configuration: ExportConfiguration, _ backing: Backing, isConfigured: Bool, arrived: ReceivedDisk? = nil,
        replacing old: NodeExport? = nil
    ) throws -> Disk {
        let name = configuration.name
        let records = backing.image.map {
            SourceRecords(directory: state, image: $0, standing: { [standing] in standing.all })
        }
        // First, as nobody else writes the records of a disk that is being migrated.
        try checkStays(backing.image, name)
        try arrived == nil ? records?.confirmIdentity() : records?.claimPlace()
        // What has just come here is not in doubt.
        if arrived == nil, stateLock != nil { try records?.resolveOutcome() }
        let moved = try records?.moved()
        let link = moved.map {
            departure($0)?.forward
                ?? ForwardLink(record: $0, records: records, transport: transport, logger: peerLogger)
        }
        let device = link.map { ForwardingDevice(forwarder: $0) } ?? arrived?.device ?? backing.device
        // What has moved has the size that it had then, whatever was done to its image since.
        let disk =
            arrived?.early
            ?? Disk(
                size: moved?.size ?? backing.size, device: device, loops: loops,
                losses: link?.losses.first ?? backing.losses)
        let export = export(configuration, disk: disk, backing: backing)
        if arrived?.early != nil || old != nil {
            table.replace(with: export, isDefault: configuration.isDefault)
        } else {
            guard table.add(export, isDefault: configuration.isDefault) else { throw NodeError.nameTaken(name) }
        }
        let added = NodeExport(
            export: export, configuration: isConfigured ? configuration : nil, backing: backing, records: records,
            bitmap: bitmap(configuration, of: export))
        exports[name] = added
        watch(added)
        if old != nil { endUpkeep(of: name) }
        if let moved, let link, let records { depart(added, records, moved, link) }
        keepIndex(of: added)
        return disk
    }

    /// Notes that an export's disk is another node's since an earlier life of this one, and goes on giving what that lacks.
    private func depart(_ export: NodeExport, _ records: SourceRecords, _ moved: MovedRecord, _ link: ForwardLink) {
        export.forgetRequest(logger)
        let supply =
            departure(moved).map(\.supply)
            ?? SupplyLink(
                record: moved, image: records.image, records: records, rate: limit(of: moved), transport: transport,
                pools: pools, logger: peerLogger)
        export.moved(by: link)
        if let supply { export.supply(by: supply) }
        let advice = records.movedFile.map { "; to serve it here all the same, as a second copy, remove \($0)" } ?? ""
        logger.notice(
            "\(records.image.path) has moved to \(moved.destination), and clients are forwarded there\(advice)")
    }

    /// The links of a disk that has moved, which all exports of its image share; nil where there are none yet.
    private func departure(_ moved: MovedRecord) -> (forward: ForwardLink, supply: SupplyLink?)? {
        exports.values.lazy.compactMap(\.onward).first { $0.forward.migration == moved.migration }
    }

    /// - Throws: `NodeError` where the image is about to be another node's: who reads a new export of it would go on reading
    ///   what is left behind.
    private func checkStays(_ image: RawImage?, _ name: String) throws {
        guard let image else { return }
        for export in exports.values where export.migration != nil {
            guard let other = export.backing?.image, try image.isOpenOnSame(as: other) else { continue }
            throw NodeError.unusable(
                "\(image.path) is being migrated as \(export.name); send SIGHUP again after that to offer it as \(name)"
            )
        }
    }

    /// Disks that moved to one place under one limit share it, as they did before this node was started again.
    private func limit(of moved: MovedRecord) -> RateLimit {
        let key = "\(moved.destination) \(moved.rate ?? 0)"
        let limit = limits[key] ?? RateLimit(bitsPerSecond: moved.rate)
        limits[key] = limit
        return limit
    }

    /// Serves a disk that has come here; one that had moved away from here goes on where its clients are.
    func addArrived(_ arrived: ReceivedDisk) async throws -> Disk {
        let disk = try await serveArrived(arrived)
        // Where blocks are missing, the first may be one of them, and is looked at once all are here.
        if arrived.map == nil { formats.check(arrived.image, .arrived) }
        if let map = arrived.map, let export = exports[arrived.export] {
            export.export.maps.show(BlockMarks(missing: map), as: Self.missingContext)
        }
        return disk
    }

    private func serveArrived(_ arrived: ReceivedDisk) async throws -> Disk {
        if let movedBy = arrived.supersedes {
            try SourceRecords(directory: state, image: arrived.image).returned(from: movedBy)
        }
        if arrived.isReturn, let export = exports[arrived.export] {
            // Restarted after it had moved on: the node's own records have it forwarded, and that stays so.
            guard try export.records?.moved() == nil else { return export.export.disk }
            await putBack(export, on: arrived.device)
            for sibling in (try? sharing(export)) ?? [] where sibling.hasMoved || sibling.isHeldBack {
                await putBack(sibling, on: arrived.device)
            }
            return export.export.disk
        }
        return try add(
            ExportConfiguration(
                backing: arrived.image.path, name: arrived.export, isReadOnly: arrived.isReadOnly),
            Backing(arrived.image, isReadOnly: arrived.isReadOnly), isConfigured: false, arrived: arrived)
    }

    /// Serves an export from the device of a disk that has come back.
    private func putBack(_ export: NodeExport, on device: BlockDevice) async {
        if export.isHeldBack {
            await export.export.disk.replaceDevice(device)
            await export.export.disk.unfence()
            export.setHeldBack(false)
        } else {
            await export.export.disk.switchDevice(device)
        }
        export.returned()
    }

    /// Answers clients of a disk that is still to come.
    func announce(_ name: String, _ size: UInt64, _ device: BlockDevice) throws -> Disk {
        let disk = Disk(size: size, device: device, loops: loops)
        let export = Export(
            name: name, disk: disk, isReadOnly: (device as? IncomingDevice)?.isReadOnly ?? false, isRotational: false,
            text: "", isSynchronous: false, failures: failures(of: name))
        guard table.add(export, isDefault: false) else { throw NodeError.nameTaken(name) }
        exports[name] = NodeExport(export: export, configuration: nil, backing: nil, records: nil)
        return disk
    }

    func withdraw(_ name: String) {
        guard let export = exports[name], export.backing == nil else { return }
        table.remove(name)
        exports[name] = nil
    }

    /// No block of the disk is missing any more.
    func completed(_ name: String) {
        exports[name]?.export.maps.remove(Self.missingContext)
        formats.check(exports[name]?.backing?.image, .arrived)
    }

    /// An image here that has moved away and is needed by nobody: its disk may come back into it.
    func base(_ name: String, isRestored: Bool) -> ImageBase? {
        guard let export = exports[name], let image = export.backing?.image else { return nil }
        if isRestored { return ImageBase(image: image, movedBy: MigrationID()) }
        guard image.isAtPath else {
            logger.warning(
                "\(name) can't come back: its image is not at \(image.path) any more; put it back, or remove the export"
            )
            return nil
        }
        guard export.isReleased, let moved = try? export.records?.moved(), moved.isReleased else { return nil }
        return ImageBase(image: image, movedBy: moved.migration)
    }

    // MARK: Images that change under the node

    /// Has each new client of an export wait until somebody has looked what stands at the path of its image.
    private func watch(_ export: NodeExport) {
        guard let image = export.backing?.image else { return }
        let size = export.export.description.size
        let configured = export.configuration?.backing
        let path: @Sendable () -> String = { configured ?? image.path }
        image.whenCut { [logger, path = path()] in
            logger.error(
                "\(path) has been cut short from \(size) to \($0) bytes; what clients ask for beyond that fails with an I/O error"
            )
        }
        image.whenFlushFails { [logger, name = export.name] failure in
            // Not on the loop that serves its clients.
            Task { logger.critical("\(name): \(NodeExport.problem(of: failure))") }
        }
        let lookout = ImageLookout(image: image, path: path, told: size) {
            [weak self, weak export] change in
            guard let self, let export else { return nil }
            return await respond(to: change, of: export, image, at: path())
        }
        export.export.watch(with: lookout)
    }

    /// Looks at the images of all exports, a few at a time, and waits for none.
    private func lookAtAll() {
        let lookouts = exports.values.compactMap(\.watcher)
        Task {
            await withTaskGroup(of: Void.self) { group in
                for (index, lookout) in lookouts.enumerated() {
                    if index >= Self.looksAtOnce { await group.next() }
                    group.addTask { _ = await lookout.look() }
                }
            }
        }
    }

    /// - Returns: why new clients can't have the export; nil where they can.
    private func respond(
        to change: ImageChange, of export: NodeExport, _ image: RawImage, at path: String
    ) async -> String? {
        // Where another export has its name by now, that has been opened just now.
        guard exports[export.name] === export else { return nil }
        let situation = export.situation(at: path)
        switch ImageResponse(to: change, in: situation) {
        case .serve:
            _ = export.note(imageProblem: nil)
            return nil
        case .keep(let problem):
            image.lookAtEnd()
            if export.note(imageProblem: problem) { logger.warning("\(export.name): \(problem)") }
            return nil
        case .refuse(let problem):
            image.lookAtEnd()
            return refuse(export, problem)
        case .reopen:
            return await reopen(export, at: path)
        case .resize(let size):
            await resize(export, image, from: situation.told, to: size)
            return nil
        }
    }

    private func refuse(_ export: NodeExport, _ problem: String) -> String {
        if export.note(imageProblem: problem) { logger.error("\(export.name): \(problem)") }
        return "the image of this export can't be opened now"
    }

    private func reopen(_ export: NodeExport, at path: String) async -> String? {
        guard let configuration = export.configuration else { return nil }
        do {
            try await open(configuration, replacing: export)
            logger.warning(
                "\(export.name): \(path) is another file now; new clients get that, and those that are connected keep theirs"
            )
            return nil
        } catch {
            return refuse(export, "\(path) is another file now, and new clients are refused: \(error)")
        }
    }

    /// All clients use one disk, old and new, so that its maps have what any of them writes.
    private func resize(_ export: NodeExport, _ image: RawImage, from told: UInt64, to size: UInt64) async {
        guard let configuration = export.configuration else { return }
        do {
            image.lookAtEnd()
            try image.resize(to: size)
        } catch {
            let problem = "\(configuration.backing) has \(size) bytes now; the export keeps its \(told): \(error)"
            if export.note(imageProblem: problem) { logger.warning("\(export.name): \(problem)") }
            return
        }
        export.export.disk.resize(to: size)
        // Who is told of the new end must find it in the map.
        if size > told { await export.bitmap?.resize(to: size) }
        // A migration that has begun meanwhile knows the new size; clients see it when that has ended.
        guard exports[export.name] === export, export.isAtRest else { return }
        endUpkeep(of: export.name)
        await replace(export, with: configuration)
        if size < told { await export.bitmap?.resize(to: size) }
        logger.notice(
            "\(export.name): \(configuration.backing) has \(size) bytes now and had \(told); new clients see that, and those that are connected keep the size that they know"
        )
    }

    private func startPeer() async throws -> PeerAddress? {
        guard let address = configuration.peerListen else { return nil }
        guard let images = configuration.images else {
            throw NodeError.missingOption("--peer-listen", needs: "--images DIR, where disks that arrive go")
        }
        let index = configuration.index
        let site = try IncomingDiskRegistry(
            images: images, state: state, pools: pools, logger: peerLogger,
            index: { index.flatMap { try? NeighbourIndex.open(directory: $0) } },
            keptIndex: configuration.keepIndex == nil ? nil : index,
            refusesEarlyWrites: configuration.refusesEarlyWrites, permissions: configuration.imagePermissions,
            host: NodeIncomingDisks(node: self, table: table, heldBack: heldBack))
        try await site.restore()
        self.site = site
        for export in exports.values { await passOn(export) }
        let loop = loops[0]
        let migrations = DestinationMigration(
            registry: site, indexDirectory: configuration.index, pools: pools, logger: peerLogger,
            hasRoom: { DescriptorReserve.inUse < DescriptorReserve.current.migrations }
        ) { DiskClient(disk: $0, loop: loop) }
        let listener = try await PeerListener(on: address, transport: transport)
        let logger = logger
        tasks.append(
            Task {
                await listener.run(refused: { logger.notice("a peer at \($0) is not let in: \($1)") }) {
                    guard DescriptorReserve.lowestFree < DescriptorReserve.current.peers else { return }
                    await migrations.serve($0)
                }
            })
        if case .insecure = transport.protection, !address.isLoopback {
            logger.warning("whoever reaches \(listener.address) can read disks that arrive, and bring their own")
        }
        return listener.address
    }

    private func startControl() async throws -> String? {
        guard stateLock != nil || configuration.needsState else { return nil }
        guard let path = configuration.control ?? configuration.defaultControl else { return nil }
        do {
            let control = try await ControlServer(
                path: path, isDefault: configuration.control == nil, group: group, node: self)
            tasks.append(Task { await control.run() })
            return path
        } catch  where configuration.control == nil {
            logger.warning(
                "no control socket, so no migrations from here: \(error); give one with --control PATH")
            return nil
        }
    }
}
