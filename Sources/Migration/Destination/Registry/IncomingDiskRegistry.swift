import Block
import BlockModel
import Index
import Logging
import MigrationCore
import MigrationProtocol
import Peer
import PeerModel

/// The disks that arrive at a node, or have arrived. The registry performs the decisions of `ArrivalMachine` on their images,
/// records, clients and connections.
public actor IncomingDiskRegistry {
    typealias Machine = ArrivalMachine<PeerIdentity>

    /// Disks of one source that may be arriving at once.
    public static let maximumReceiving = PeerLimits.arrivingPerPeer

    /// Blocks that have come over links, for every disk that arrives.
    nonisolated let shared = SharedBlocks()
    /// The blocks of the disks that arrive, by where they come from.
    public nonisolated let blockMaps = ArrivalBlockMaps()
    nonisolated let images: ImageDirectory
    /// A folder for scratch files.
    nonisolated let scratch: String
    let records: IncomingRecords
    let host: any IncomingDiskHost
    let logger: Logger
    let activation: DiskActivation
    let targets: DiskTargets
    /// Disks whose places are being prepared, and are not taken in yet.
    var preparing: Set<String> = []
    let offerTurns = ExportTurns()
    /// The places of commands that prepare.
    var preparations = PeerCounts<PeerIdentity>(
        limit: PeerLimits.arriving, limitPerPeer: PeerLimits.arrivingPerPeer)
    /// Releases that run.
    var releases: [UInt64: Task<Void, Never>] = [:]
    var nextRelease: UInt64 = 0
    let refusesEarlyWrites: Bool

    var machine = Machine()
    /// The places of estimates.
    var estimates = PeerCounts<PeerIdentity>(
        limit: PeerLimits.estimates, limitPerPeer: PeerLimits.estimatesPerPeer)
    /// The places of guests' memory.
    private var loans: [LoanPurpose: PeerCounts<PeerIdentity>] = [
        .neighbours: PeerCounts(limit: PeerLimits.loans, limitPerPeer: PeerLimits.loansPerPeer),
        .arrivals: PeerCounts(
            limit: PeerLimits.arrivalQuestions, limitPerPeer: PeerLimits.arrivalQuestionsPerPeer),
    ]
    private var memories = PeerCounts<PeerIdentity>(
        limit: PeerLimits.memories, limitPerPeer: PeerLimits.memoriesPerPeer)
    var space: ArrivalSpace
    /// Disks that have moved on, and the listeners for that.
    var chains = Chains()

    // The objects behind the machine's numbers.
    var receiving: [MigrationID: ReceivingDisk] = [:]
    var prepared: [MigrationID: PreparedDisk] = [:]
    var activations: [MigrationID: Task<Disk, any Error>] = [:]
    var disks = ServedDisks()
    /// The images of disks that came, for references from their guests' memory.
    var arrivals = ArrivalImages()
    private var connections: [ArrivalConnection: PeerConnection] = [:]
    private var nextConnection: UInt64 = 0
    var watches: [ArrivalWait: CheckedContinuation<Void, Never>] = [:]
    var diskWaits: [ArrivalWait: CheckedContinuation<Disk?, Never>] = [:]

    var channels: [MigrationID: PostCopyChannels] = [:]
    /// The failures that flushes of the clients behind each source are owed.
    var owedFlushes: [MigrationID: OwedFlush] = [:]
    var early: [String: EarlyExport] = [:]
    var postCopies: [String: PostCopy] = [:]
    /// Migrations whose disks are this node's and can't be served, and why not. A disk that comes back may have a second
    /// migration, which nobody has committed.
    var unservedMigrations: [MigrationID: (export: String, reason: String)] = [:]

    /// Disks that are this node's and can't be served, and why not.
    public var unserved: [String: String] {
        Dictionary(unservedMigrations.values.map { ($0.export, $0.reason) }) { first, _ in first }
    }

    /// - Parameters:
    ///   - images: the directory for disks; made if there is none.
    ///   - state: the records that survive a restart.
    ///   - pools: for the files of disks that are served before all of them is there.
    ///   - index: opens the neighbours for them.
    ///   - keptIndex: the index that the node keeps current with its disks; nil for none.
    ///   - refusesEarlyWrites: writes to a disk that has not been switched over fail instead of waiting.
    ///   - permissions: of images that are made; those that are there already keep theirs.
    ///   - targets: the commands that make the places of disks; empty for the images directory.
    /// - Throws: `FileError`; if a record can't be read.
    public init(
        images: String, state: StateDirectory, pools: WorkPools, logger: Logger,
        index: @escaping @Sendable () -> NeighbourIndex? = { nil }, keptIndex: String? = nil,
        refusesEarlyWrites: Bool = false, permissions: FilePermissions = FilePermissions(),
        targets: TargetPolicy = TargetPolicy(), host: any IncomingDiskHost
    ) throws {
        self.images = try ImageDirectory(path: images, permissions: permissions, state: state)
        records = IncomingRecords(state: state, layout: self.images.layout)
        self.targets = DiskTargets(policy: targets, records: records, logger: logger)
        scratch = state.scratch
        space = ArrivalSpace(images: self.images.realPath, state: state.scratch, index: keptIndex)
        self.host = host
        self.logger = logger
        activation = DiskActivation(
            images: self.images, records: records, host: host, pools: pools, logger: logger, index: index)
        self.refusesEarlyWrites = refusesEarlyWrites
    }

    /// Ends all waiting: the node ends.
    public func stop() {
        perform(machine.stop())
        for export in early.values { export.device.close() }
        for channel in channels.values { channel.close() }
        chains.stop()
    }

    /// Ends requests that wait for blocks of a source: the node ends.
    public func giveUp() {
        for postCopy in postCopies.values { postCopy.stop() }
    }

    /// The progress of post-copy of an export; nil if nothing of it is missing.
    public func arriving(_ export: String) -> PostCopyStatus? { postCopies[export]?.progress() }

    /// Disks that are prepared here and that no connection brings: only their sources know whether they have been given away.
    public var waitingForSources: [(export: String, size: UInt64)] { machine.waitingForSources }

    // MARK: Guests' memory

    /// Takes a place for a connection of a guest's memory; `endMemory` gives it back.
    /// - Throws: `MigrationError.refused` if there are too many.
    func beginMemory(for peer: PeerIdentity) throws {
        guard memories.take(peer) else {
            throw MigrationError.refused(
                "\(memories.total) connections of guests' memory are open there already; use fewer multifd channels, or try "
                    + "again later")
        }
    }

    func endMemory(for peer: PeerIdentity) { memories.giveBack(peer) }

    /// Takes a place for a connection of another host of the site; `endLending` gives it back.
    /// - Throws: `MigrationError.refused` if there are too many for this purpose.
    func beginLending(for peer: PeerIdentity, _ purpose: LoanPurpose) throws {
        guard loans[purpose]!.take(peer) else {
            throw MigrationError.refused(
                "\(loans[purpose]!.total) connections of its site \(purpose.rawValue) already; try again later")
        }
    }

    func endLending(for peer: PeerIdentity, _ purpose: LoanPurpose) { loans[purpose]!.giveBack(peer) }

    /// The image from which pages of a guest's memory may be read; nil if it is not here, or is not the peer's to name.
    func image(of disk: MemoryOffer.Disk, for peer: PeerIdentity) async -> (any DiskImage)? {
        switch disk {
        case .migration(let migration): arrivals.image(of: migration, from: peer)
        case .export(let name):
            if let image = arrivals.image(named: name) { image } else { await host.image(of: name) }
        }
    }

    /// Whether anything is known of a migration.
    func knows(_ migration: MigrationID) -> Bool { machine.knows(migration) }

    /// The two flows of a disk.
    func channels(of migration: MigrationID) -> PostCopyChannels? { channels[migration] }

    // MARK: Actions

    func perform(_ actions: [Machine.Action]) {
        for action in actions {
            switch action {
            case .close(let connection): close(connection)
            case .wake(let wait): watches.removeValue(forKey: wait)?.resume()
            case .answer(let wait, let disk):
                diskWaits.removeValue(forKey: wait)?.resume(returning: disk.map { disks[$0] })
            case .forget(let migration, let export):
                receiving[migration] = nil
                prepared[migration] = nil
                channels[migration] = nil
                owedFlushes[migration] = nil
                space.remove(migration)
                if let export { images.removeManifest(of: export) }
            }
        }
    }

    /// Removes the records and files of a disk.
    /// - Throws: if its record may be found by a later life. Everything stays then, unless the disk is forgotten all the same.
    func remove(_ removal: ArrivalRemoval) async throws {
        var failure: (any Error)?
        var released: String?
        if let export = machine.export(of: removal.migration) {
            do { try records.remove(removal.migration, of: export) } catch { failure = error }
            if failure == nil || removal.isLast {
                images.removeMap(of: export)
                blockMaps.remove(export)
                if !removal.keepsImage {
                    images.removePartialImage(of: export)
                    released = export
                }
                await endEarly(export)
            }
        }
        perform(machine.removalEnded(removal.migration, isDone: failure == nil))
        // Only now: the image was open until then.
        if let released { beginRelease(of: released) }
        if let failure { throw failure }
    }

    /// Ends answering clients of a disk that was not switched over.
    func endEarly(_ export: String) async {
        guard let known = early.removeValue(forKey: export) else { return }
        known.device.close()
        await host.withdraw(export)
    }

    // MARK: Connections

    /// Gives a connection the number by which the machine knows it; `unregister` forgets it.
    func register(_ connection: PeerConnection) -> ArrivalConnection {
        nextConnection += 1
        let number = ArrivalConnection(number: nextConnection)
        connections[number] = connection
        return number
    }

    func unregister(_ connection: ArrivalConnection) { connections[connection] = nil }

    func connection(_ number: ArrivalConnection) -> PeerConnection? { connections[number] }

    func close(_ connection: ArrivalConnection) { connections[connection]?.close() }

    // MARK: Waiting

    /// Waits until nothing of an attempt is written or removed, nor its image locked.
    func waitUntilIdle(_ migration: MigrationID) async {
        while !machine.isIdle(migration) { await waitForChange(of: migration) }
    }

    /// Waits for the next change of a migration. Between the look at the machine and this call nothing may be waited for.
    func waitForChange(of migration: MigrationID) async {
        let wait = machine.watch(migration)
        await withCheckedContinuation { watches[wait] = $0 }
    }

    /// Waits for a change of a migration while something holds.
    func wait(for migration: MigrationID, atMost limit: Duration, while holds: (Machine) -> Bool) async {
        let deadline = ContinuousClock.now + limit
        while holds(machine), ContinuousClock.now < deadline {
            let wait = machine.watch(migration)
            let timer = Task {
                try await Task.sleep(until: deadline)
                endWatch(migration, wait)
            }
            await withCheckedContinuation { watches[wait] = $0 }
            timer.cancel()
        }
    }

    func endWatch(_ migration: MigrationID, _ wait: ArrivalWait) {
        machine.endWatch(migration, wait)
        watches.removeValue(forKey: wait)?.resume()
    }
}
