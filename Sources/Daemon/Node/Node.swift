import Block
import Foundation
import Logging
import Migration
import Monitoring
import NBDServer
import NIOConcurrencyHelpers
import NIOPosix
import Peer
import PeerModel
import Ring
import Site
import StorageDaemon

/// A running `nearblock serve`: its exports, clients, peers and commands.
///
/// 1. `start` opens everything, in the order in which it can fail.
/// 2. The node serves.
/// 3. `stop` finishes the requests of clients and ends.
public actor Node {
    /// Time in which other nodes and servers may still answer requests when the node stops.
    private static let forwardingGrace = Duration.seconds(3)
    /// Time that cancelled migrations get to tell their peers.
    static let cancelling = Duration.seconds(3)
    /// Time in which remote backings may still answer: the time for clients to read their last replies, and as long again.
    private static let backingGrace = Duration.seconds(7)

    let configuration: NodeConfiguration
    let logger: Logger
    /// Logs what peers cause, with a limit on the number of lines.
    let peerLogger: Logger
    let clientLog: ClientLog
    let loops: [Ring.EventLoop]
    let table = ExportTable()
    let server: Server
    let group: MultiThreadedEventLoopGroup
    let transport: PeerTransport
    let pools: WorkPools
    let formats: FormatWarnings
    let state: StateDirectory
    let factory: ExportFactory
    let opener: BackingOpener
    /// Nil if another node may use the state directory; this one then only reads it.
    private(set) var stateLock: StateLock?
    /// All exports that are served, by name.
    var exports: [String: NodeExport] = [:]
    /// Configured exports that can't be served, with the reasons.
    let heldBack = NIOLockedValueBox<[String: String]>([:])
    /// Those of `heldBack` that are tried again when their images change.
    var waiting: [String: WaitingExport] = [:]
    /// Whether a task looks at the images of `waiting`.
    var isWatchingWaiting = false
    /// Whether a new configuration is being applied.
    var isReloading = false
    /// The attempt to open an export that waits; a reload lets it end first.
    var retrying: Task<Void, Never>?
    /// Told in a line which exports can't be served, when that changes.
    var tellingSummary: (@Sendable (String) -> Void)?
    /// The last such line; nil while all exports have been served.
    var lastSummary: String?
    /// Identities of the images at the configured paths.
    let standing = StandingImages()
    /// Registry of arriving disks; nil if the node takes none in.
    var registry: IncomingDiskRegistry?
    var rates = MovedDiskRates()
    var upkeep: UpkeepTasks
    /// Looks at the dates of the certificates in use; nil until the node starts.
    var certificateWatch: Task<Void, Never>?
    /// Tasks that run until the node stops.
    var tasks: [Task<Void, Never>] = []
    /// Takes part in a site; nil without one.
    var siteTask: Task<Void, Never>?
    var siteMember: SiteMember?
    let runs = MigrationRuns()
    /// Migrations from this node that have ended.
    let history: MigrationHistory
    let outcomes: MigrationOutcomes
    /// Counts clients' requests.
    let tallies: TallyBook
    /// Answers HTTP.
    var monitoring: [WebServer] = []
    /// Unix sockets of `monitoring`.
    var monitoringFiles: [SocketFile] = []
    /// Guests' memory that moves by itself.
    var memories: [ObjectIdentifier: GuestMemoryRun] = [:]
    private(set) var isStopping = false
    /// Whether clients may have connected.
    private(set) var hasStarted = false
    /// Reads files and command line again; nil if the program can't.
    var readAgain: (@Sendable () async throws -> ReloadReport)?
    /// Addresses for NBD clients, with the ports that the kernel chose.
    public private(set) var addresses: [ListenAddress] = []
    /// Address at which disks of other nodes arrive; nil for none.
    var peerAddress: PeerAddress?

    /// Creates a node that serves nothing yet.
    /// - Throws: an error if the kernel provides no rings, or the state directory can't be created or is in use.
    public init(configuration: NodeConfiguration, logger: Logger) throws {
        self.configuration = configuration
        self.logger = logger
        var peerLogger = logger
        peerLogger.handler = PeerLogHandler(logger.handler)
        self.peerLogger = peerLogger
        let cores = ProcessInfo.processInfo.activeProcessorCount
        loops = try (0..<cores).map { try Ring.EventLoop(index: $0) }
        if configuration.isMonitored { FacadeMetrics.begin() }
        clientLog = ClientLog(logger: logger, counts: configuration.isMonitored)
        server = Server(exports: table, loops: loops, observer: clientLog)
        tallies = TallyBook(loops: loops.count)
        outcomes = MigrationOutcomes(logger: logger, counts: configuration.isMonitored)
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        transport = PeerTransport(group: group)
        pools = WorkPools(threads: max(2, cores))
        formats = FormatWarnings { logger.warning("\($0)") }
        factory = ExportFactory(logger: logger, tallies: configuration.isMonitored ? tallies : nil)
        upkeep = UpkeepTasks(
            directory: configuration.index, interval: configuration.keepIndex, logger: logger)
        state = try StateDirectory(path: configuration.state)
        stateLock = try StateLock.acquire(
            in: configuration.state, isNeeded: configuration.needsState
        ) { logger.warning("\($0)") }
        let disks = try configuration.site.disks(state: stateLock == nil ? nil : configuration.state)
        opener = BackingOpener(
            loops: loops, directory: configuration.state, logger: logger, state: state, disks: disks)
        history = MigrationHistory(in: state, isKept: stateLock != nil, logger: logger)
        guard stateLock != nil else { return }
        StorageDaemon.removeLeftovers(in: configuration.state)
        let leftovers = state.removeLeftovers()
        if !leftovers.isEmpty {
            let names = leftovers.joined(separator: ", ")
            logger.info("removed what killed processes left in \(configuration.state): \(names)")
        }
        do { try SourceRecords.makeIndependent(in: state) } catch {
            logger.warning("the records of disks that moved together stay as they are: \(error)")
        }
    }

    /// Opens the exports and addresses, and starts to serve.
    /// - Returns: A description of each address that accepts connections.
    /// - Throws: An error with a message in one line.
    public func start() async throws -> [String] {
        try configuration.checkEncryption()
        table.setListed(configuration.listsExports)
        server.secure(with: try configuration.tls?.open())
        transport.protection = try configuration.openPeerProtection()
        for problem in configuration.certificateProblems() { log(problem) }
        watchCertificates(of: configuration)
        let missing = missingFolders
        try await openConfigured()
        hasStarted = true
        var lines: [String] = []
        let peer = try await startPeer()
        for address in configuration.listen {
            let bound = try server.listen(on: address, permissions: configuration.socketPermissions)
            addresses.append(bound)
            lines.append("NBD on \(bound)")
        }
        if let peer { lines.append("peers on \(peer)") }
        if let control = try await startControl() { lines.append("control on \(control)") }
        lines += try await startMonitoring()
        await resumeMigrations()
        for line in missing { logger.warning(line) }
        if let problem = configuration.plaintextProblem { logger.warning("\(problem)") }
        return lines
    }

    /// Serves one client on a connected socket; returns after it has disconnected.
    public func serve(_ socket: CInt) async {
        await server.serve(socket)
    }

    /// Finishes the requests of clients and ends. Migrations before their switchover are cancelled, or kept for the next
    /// start if the configuration says so; later ones go on after a restart.
    public func stop() async {
        isStopping = true
        await server.leaveInherited()
        readAgain = nil
        for memory in memories.values { memory.cancel() }
        await runs.end(keeping: configuration.keepsMigrations, within: Self.cancelling, on: self)
        await registry?.stop()
        let links = Task { await stopWaitingForOthers() }
        await server.stop()
        let lostBitmaps = await settleBitmaps()
        links.cancel()
        await links.value
        // The control socket must outlive the migrations, so that their clients learn the outcome.
        await runs.end()
        await registry?.waitForReleases()
        await history.finish()
        certificateWatch?.cancel()
        await certificateWatch?.value
        await leaveSite()
        for task in tasks + upkeep.all { task.cancel() }
        for task in tasks + upkeep.all { await task.value }
        for export in exports.values {
            export.stopForwarding()
            await export.waitUntilLinksEnded()
        }
        await withTaskGroup(of: Void.self) { group in
            for backing in exports.values.compactMap(\.backing) { group.addTask { await backing.end() } }
        }
        // A helper may write to its image until it has ended.
        await saveBitmaps(except: lostBitmaps)
        await stopMonitoring()
        await clientLog.finish()
        for loop in loops { loop.stop() }
        try? await group.shutdownGracefully()
        await pools.shutDown()
        stateLock = nil
    }

    /// Fails requests that wait for another node or server, after a grace period or when the task is cancelled. Their
    /// clients then learn that this node shuts down.
    private func stopWaitingForOthers() async {
        let exports = exports
        try? await Task.sleep(for: Self.forwardingGrace)
        for export in exports.values { export.stopForwarding() }
        for export in exports.values where export.isHeldBack {
            await export.export.disk.replaceDevice(ClosedDevice())
            await export.export.disk.unfence()
            export.setHeldBack(false)
        }
        await registry?.giveUp()
        try? await Task.sleep(for: Self.backingGrace)
        for export in exports.values { export.backing?.stop() }
    }

    /// Finds an export by a name that clients may use; the empty name may stand for one.
    /// - Throws: `NodeError` if there is none, or it is held back.
    func find(_ name: String) throws -> NodeExport {
        guard let export = table.find(name).flatMap({ exports[$0.description.name] }) else {
            if let reason = heldBack.withLockedValue({ $0[name] }) { throw NodeError.heldBack(name, reason: reason) }
            throw NodeError.noSuchExport(name, known: exports.keys.sorted())
        }
        return export
    }
}
