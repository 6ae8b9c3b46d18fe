import Block
import BlockModel
import Index
import MigrationCore
import MigrationProtocol
import Peer

/// One migration on its way here: performs the actions of its `DestinationMachine`.
struct IncomingMigration {
    /// The longest wait of a segment for blocks that come for another disk.
    private static let sharingLimit = Duration.seconds(60)

    let context: DestinationContext
    let hello: Hello
    let connection: PeerConnection
    var machine = DestinationMachine()
    /// The neighbours; nil for none.
    var index: NeighbourIndex?
    /// Bytes of a block here.
    var blockSize = UInt32(BlockGeometry.standardBlockSize)
    /// nil until it has been accepted.
    var offer: Offer?
    /// The number of the connection at the registry; nil until the offer has been accepted.
    private var carrier: ArrivalConnection?
    /// nil until the offer has been accepted.
    private(set) var progress: ArrivalProgress?
    var disk: IncomingDisk?
    /// nil until the source has said one.
    private var bitmap: ArrivingBitmap?
    /// A command has made the place of the disk, which an interrupted migration keeps.
    private var hasPlace = false
    private var waitsForOthers = true
    /// Looks for blocks that come to other hosts of the site; nil without a site, and before the offer has been accepted.
    private var search: ArrivalSearch?
    /// Nothing is waited for any more: the switchover comes, or the connection is closed.
    private let isUrgent = WatchedValue(false)
    /// The first round is over: a guest may wait for later blocks.
    private var isLate = false

    init(context: DestinationContext, hello: Hello, connection: PeerConnection) {
        self.context = context
        self.hello = hello
        self.connection = connection
    }

    private var registry: IncomingDiskRegistry { context.registry }

    /// - Returns: whether to go on.
    mutating func perform(_ action: DestinationMachine.Action) async throws -> Bool {
        switch action {
        case .open(let offer, let geometry): try await open(offer, geometry)
        case .compare(let summary):
            let differences = try await onDisk { try $0.compare(summary) }
            try await connection.send(Message.differences(differences).encoded())
        case .resolve(let segment):
            try await waitForOthers(segment)
            let elsewhere = await findElsewhere(segment)
            let wants = try await onDisk { try $0.resolve(segment, elsewhere: elsewhere) }
            try await connection.send(Message.wants(wants).encoded())
        case .answer(let question):
            let answer = try await onDisk { [room = context.prefixes] in try $0.answer(question, room) }
            try await connection.send(Message.prefixAnswer(answer).encoded())
        case .clear(let blocks):
            try await onDisk { try $0.clear(blocks) }
        case .store(let segment, let bytes):
            try await onDisk { try $0.store(segment, byteCount: bytes) }
        case .finishManifest:
            try await connection.send(Message.manifestDone.encoded())
        case .finishRound(let round):
            try await finishRound()
            isLate = true
            try await connection.send(Message.roundDone(round).encoded())
        case .prepare(let theirs): try await prepare(theirs)
        case .expect(let switchover): try await answerClients(switchover)
        case .forget(let blocks):
            try await onDisk(isUrgent: true) { try $0.markDirty(blocks) }
        case .note(let part): try note(part)
        case .prepareRest: try await prepareRest()
        case .activate:
            try await activate()
            return false
        case .abandon(let reason):
            await abandon(reason)
            return false
        }
        return true
    }

    // MARK: Copying

    private mutating func open(_ offer: Offer, _ geometry: BlockGeometry) async throws {
        try offer.checkBlockSize(blockSize)
        let taken: (disk: ReceivingDisk, carrier: ArrivalConnection)
        do {
            taken = try await registry.open(offer, over: connection)
        } catch let error as FileError {
            throw MigrationError.refused(error.description)
        }
        (self.offer, carrier) = (offer, taken.carrier)
        context.warnAboutDomains(of: offer, in: index)
        let receiving = taken.disk
        hasPlace = receiving.place != nil
        disk = try IncomingDisk(
            image: receiving.image, hasBase: receiving.hasBase, isBlank: receiving.isBlank, geometry: geometry,
            index: index?.restricted(for: offer),
            shared: registry.shared.join(receiving.image, geometry, domains: Set(offer.domains)),
            manifestPath: registry.images.layout.manifestPath(of: offer.export),
            origins: registry.blockMaps.begin(offer.export, geometry))
        if let site = context.arrivals, let disk {
            search = ArrivalSearch(
                site: site, order: disk.shared.order, domains: offer.domains, blockSize: UInt32(geometry.blockSize),
                pool: context.pools.background)
        }
        progress = receiving.progress
        if let disk {
            receiving.progress.begin(disk.presentMap, geometry, over: connection)
            registry.blockMaps.show(disk.presentMap, of: offer.export)
        }
        let base = receiving.hasBase ? ", of which an older copy is here" : ""
        context.logger.info("\(offer.export) is arriving: \(offer.size) bytes\(base)")
        connection.allowOrdinaryFrames()
        await watchForUrgency()
        try await context.accept(hello, hasBase: receiving.hasBase, connection)
    }

    /// Ends waiting for other disks once the connection is closed. It ends too once a message for which a guest may be waiting
    /// stands behind the one that waits.
    private func watchForUrgency() async {
        let end = endWaiting
        connection.whenClosed(end)
        await connection.watchFrames { if Message.isUrgent($0) { end() } }
    }

    private var endWaiting: @Sendable () -> Void {
        { [isUrgent, shared = registry.shared] in
            isUrgent.withLockedValue { $0 = true }
            shared.recheck()
        }
    }

    /// Blocks that have been asked for already, for a disk that began to arrive earlier, are better waited for than asked for
    /// again. Once they have not come for very long, no more.
    private mutating func waitForOthers(_ segment: ManifestSegment) async throws {
        guard waitsForOthers else { return }
        waitsForOthers = try await disk!.shared.waitWhileComing(
            segment.prefixes, until: .now + Self.sharingLimit, isOpen: { [connection] in connection.isOpen },
            isUrgent: { [isUrgent] in isUrgent.withLockedValue { $0 } })
    }

    /// Blocks that have come to other hosts of the site, or come there soon. No host is asked any more once it is urgent.
    private mutating func findElsewhere(_ segment: ManifestSegment) async -> [UInt64: BorrowedBlock] {
        guard let search else { return [:] }
        let found: [UInt64: BorrowedBlock]? = await withTaskGroup(
            of: [UInt64: BorrowedBlock]?.self
        ) { [isUrgent] group in
            group.addTask { await search.find(segment.prefixes) }
            group.addTask {
                try? await isUrgent.waitUnlessCancelled { $0 }
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
        if found == nil { self.search = nil }
        return found ?? [:]
    }

    /// The guest may be waiting already: the disk is written while its root is worked out.
    private func finishRound() async throws {
        async let isFinished: Void = onDisk { try $0.finishRound() }
        try await onDisk { try $0.synchronize() }
        try await isFinished
    }

    private mutating func note(_ part: BitmapPart) throws {
        let bitmap = bitmap ?? ArrivingBitmap(name: part.name, size: offer!.size)
        try bitmap.add(part)
        self.bitmap = bitmap
    }

    private func answerClients(_ switchover: Switchover) async throws {
        guard switchover.isAnsweredEarly, let offer else { return }
        let signal = try await registry.announce(offer, switchover)
        // Without `firstWrite`, only the operator at the source orders the switchover.
        guard switchover == .firstWrite else { return }
        signal?.listen { [connection, endWaiting] in
            endWaiting()
            Task { try? await connection.send(Message.postcopy(.switchNow).encoded()) }
        }
    }

    // MARK: The switchover

    /// Compares the roots: prepares only if they are equal, and sends this side's in any case.
    private mutating func prepare(_ theirs: DiskRoot) async throws {
        let ours = try await onDisk(isUrgent: true) { try $0.root() }
        if ours == theirs {
            var record = IncomingRecord(prepared: offer!, root: ours)
            record.bitmap = bitmap?.name
            try await registry.prepare(record, nil, bitmap?.bits)
            machine.prepared()
        }
        try await connection.send(Message.prepared(ours).encoded())
    }

    /// Prepares the blocks that are here, and names the missing ones.
    private mutating func prepareRest() async throws {
        let offer = offer!
        guard let geometry = offer.geometry else { preconditionFailure("an offer that was accepted") }
        let path = registry.images.layout.mapPath(of: offer.export)
        let (missing, isNamed) = try await onDisk(isUrgent: true) { try $0.leave() }
        // At the same time: the guest waits.
        async let root = onDisk(isUrgent: true) { try $0.root(naming: missing) }
        let parts = try await onDisk(isUrgent: true) { disk -> PostCopyFiles? in
            try disk.synchronizeAll()
            if disk.isWhole { return nil }
            let store = try PresentMapStore.create(path: path, geometry: geometry, present: disk.present)
            return PostCopyFiles(store: store, manifest: disk.manifest)
        }
        let ours = try await root
        var record = IncomingRecord(prepared: offer, root: ours)
        record.bitmap = bitmap?.name
        if parts != nil { record.setBlocks(geometry) }
        try await registry.prepare(record, parts, bitmap?.bits)
        machine.prepared()
        if !isNamed || !hello.support.capabilities.contains(.unsaidMissing) {
            for runs in RunChunks(missing) { try await connection.send(Message.postcopy(.missing(runs)).encoded()) }
        }
        try await connection.send(Message.prepared(ours).encoded())
    }

    private mutating func activate() async throws {
        try await registry.takeOver(offer!.migration)
        machine.activated()
        try await connection.send(Message.active.encoded())
        context.logger.info(
            "\(offer!.export) has arrived and is served here", metadata: registry.blockMaps.ledger(of: offer!.export))
    }

    private mutating func abandon(_ reason: String) async {
        // The registry gives its place to another disk, and the source may never read the answer.
        disk = nil
        if let offer {
            context.logger.info("the migration of \(offer.export) to this node was given up: \(reason)")
            do { try await registry.abandon(offer.migration) } catch {
                context.logger.warning("\(offer.export) can't be given up here yet: \(error)")
                // Without the answer the source remembers it, and says so again when it comes again.
                return
            }
        }
        // The source then need not remember that it has given this up.
        try? await connection.send(Message.failed(reason: reason).encoded())
    }

    /// Tells the registry that nothing of the disk is written over this connection any more.
    /// - Parameter comesAgain: the source will be back.
    mutating func end(comesAgain: Bool) async {
        let left = disk?.left(comesAgain: comesAgain, isKept: hasPlace) ?? LeftCopy(comesAgain: comesAgain)
        // The next attempt needs the image's lock.
        disk = nil
        guard let offer, let carrier else { return }
        await registry.carrierEnded(offer.migration, over: carrier, left)
    }

    private func onDisk<Result: Sendable>(
        isUrgent: Bool = false, _ body: @escaping @Sendable (IncomingDisk) throws -> Result
    ) async throws -> Result {
        let disk = disk!
        let pool = isLate || isUrgent ? context.pools.urgent : context.pools.background
        return try await pool.runIfActive { try body(disk) }
    }
}
