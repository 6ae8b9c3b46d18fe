import Block
import BlockModel
import Foundation
import Glibc
import Index
import Logging
import MigrationProtocol
import NIOPosix
import Peer
import PeerModel

/// What a node has of disks that arrive, or have arrived: their images, their records, and who waits for them.
public actor DestinationSite {
    /// What the site asks of its node.
    public struct Hooks: Sendable {
        let isNameTaken: @Sendable (String) -> Bool
        let activate: @Sendable (ArrivedDisk) async throws -> Disk
        let announce: (@Sendable (_ export: String, _ size: UInt64, _ device: BlockDevice) async throws -> Disk)?
        let withdraw: @Sendable (_ export: String) async -> Void
        let base: @Sendable (_ export: String, _ isRestored: Bool) async -> ImageBase?
        let completed: @Sendable (_ export: String) async -> Void

        /// - Parameters:
        ///   - isNameTaken: whether the node serves an export of that name already.
        ///   - announce: answers clients of a disk that is still to come; nil for a node that does not.
        ///   - withdraw: ends that, for a disk that will not come.
        ///   - base: an image of that name that has moved away from here, into which it may come back; for one that has
        ///     come back (`isRestored`), the image as the node has it open.
        ///   - completed: all of a disk that was not whole when it was to be served is here.
        ///   - activate: serves a disk from now on, and returns it.
        public init(
            isNameTaken: @escaping @Sendable (String) -> Bool,
            announce: (@Sendable (_ export: String, _ size: UInt64, _ device: BlockDevice) async throws -> Disk)? = nil,
            withdraw: @escaping @Sendable (_ export: String) async -> Void = { _ in },
            base: @escaping @Sendable (_ export: String, _ isRestored: Bool) async -> ImageBase? = { _, _ in nil },
            completed: @escaping @Sendable (_ export: String) async -> Void = { _ in },
            activate: @escaping @Sendable (ArrivedDisk) async throws -> Disk
        ) {
            self.completed = completed
            self.isNameTaken = isNameTaken
            self.announce = announce
            self.withdraw = withdraw
            self.base = base
            self.activate = activate
        }
    }

    /// A disk that is copied here.
    struct Receiving: Sendable {
        let image: RawImage
        /// The image holds blocks of an earlier attempt, or of an earlier life of the disk here.
        let hasBase: Bool
        /// The image is one of the node's own, to be brought up to date.
        let movedBy: MigrationID?
    }

    enum Arrival {
        case receiving(Receiving)
        /// The image is nil after a restart.
        case prepared(IncomingRecord, RawImage?, PostCopyFiles?)
        case activating(Task<Disk, any Error>)
        case active(Disk)
    }

    struct Connection {
        let connection: PeerConnection
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    /// Disks of one source that may be arriving at once.
    public static let maximumReceiving = PeerLimits.arrivingPerPeer

    /// What has come over links, for every disk that arrives.
    nonisolated let shared = SharedBlocks()
    private let images: String
    private let layout: ImageLayout
    private let permissions: FilePermissions
    let state: StateDirectory
    private let hooks: Hooks
    let logger: Logger
    private let pools: WorkPools
    private let index: @Sendable () -> NeighbourIndex?
    private let refusesEarlyWrites: Bool
    var arrivals: [MigrationID: Arrival] = [:]
    var names: [String: MigrationID] = [:]
    private var forwarders: [MigrationID: Connection] = [:]
    /// What the clients behind each source are owed.
    private var owedFlushes: [MigrationID: OwedFlush] = [:]
    var receivers: [MigrationID: Connection] = [:]
    /// Whose connections bring disks, who brought those of which blocks are missing, and who asks what one would take.
    var places = ArrivalPlaces()
    /// Disks whose arrival is being ended from here.
    var dismissed: [MigrationID: Dismissal] = [:]
    /// Forwarding connections that have not asked for anything; the oldest of each migration first.
    var idleForwarders: [MigrationID: [IdleForwarder]] = [:]
    var nextIdleForwarder: UInt64 = 0
    /// Forwarding connections in the order of their hellos, and the latest of those that said the disk is this node's.
    private var forwarderTurns: [MigrationID: (latest: UInt64, committed: UInt64)] = [:]
    var waiters: [MigrationID: [DiskWaiter]] = [:]
    var nextWaiter: UInt64 = 0
    private var channels: [MigrationID: PostCopyChannels] = [:]
    /// Of disks that come back: the migrations by which they were known here before.
    var replaced: [MigrationID: MigrationID] = [:]
    var early: [String: EarlyExport] = [:]
    private var postCopies: [String: PostCopy] = [:]
    /// Disks that are this node's and can't be served, and why not.
    public private(set) var unserved: [String: String] = [:]
    private var space: ArrivalSpace
    var isStopped = false
    /// Disks that have moved on, and who is to be told of it.
    var chains = Chains()

    /// - Parameters:
    ///   - images: where disks go; made where there is none.
    ///   - state: what survives a restart.
    ///   - pools: for the files of disks that are served before all of them is there.
    ///   - index: opens the neighbours for them.
    ///   - keptIndex: the index that the node keeps current with its disks; nil for none.
    ///   - refusesEarlyWrites: writes to a disk that has not been handed over fail instead of waiting.
    ///   - permissions: of images that are made; those that are there already keep theirs.
    /// - Throws: `FileError`; where a record can't be read.
    public init(
        images: String, state: StateDirectory, pools: WorkPools, logger: Logger,
        index: @escaping @Sendable () -> NeighbourIndex? = { nil }, keptIndex: String? = nil,
        refusesEarlyWrites: Bool = false, permissions: FilePermissions = FilePermissions(), hooks: Hooks
    ) throws {
        try? DurableFolder.make(images)
        guard access(images, W_OK) == 0 else { throw FileError("write into the images directory", images) }
        try permissions.check(in: images)
        self.images = StateDirectory.realPath(images)
        self.permissions = permissions
        layout = try ImageLayout(
            images: self.images, state: state, prefixes: [Self.recordPrefix, Self.returningPrefix])
        self.state = state
        space = ArrivalSpace(images: self.images, state: state.scratch, index: keptIndex)
        self.hooks = hooks
        self.logger = logger
        self.pools = pools
        self.index = index
        self.refusesEarlyWrites = refusesEarlyWrites
    }

    /// Takes up what an earlier life of this node has left: serves the disks that are its own, and remembers those that
    /// wait for their source's word. A disk that can't be served is reported, and does not keep the others from being
    /// served.
    /// - Throws: where a record can't be read.
    public func restore() async throws {
        for prefix in [Self.recordPrefix, Self.returningPrefix] {
            for (name, record) in try state.readAll(IncomingRecord.self, prefix: "\(prefix)-") {
                if let ours = try await claim(record, name, prefix) { await restore(ours) }
            }
        }
        layout.removeLeftovers(except: names.keys)
    }

    /// The record of a disk if it belongs to this images directory, since a state directory may serve several: it has the name
    /// that it would get here, or its image stands here now, in a directory that was renamed or is mounted elsewhere.
    private func claim(_ record: IncomingRecord, _ name: String, _ prefix: String) async throws -> IncomingRecord? {
        let ourName = recordName(record.export, prefix)
        if name == ourName { return record }
        // The operator may have said that another image stands where this one stood.
        guard record.image?.path != nil, let image = try? await image(of: record, nil), try record.isAbout(image),
            try !state.exists(ourName)
        else { return nil }
        var record = record
        record.image = try standing(image, record)
        if record.isReturn { record.imagePath = image.path }
        try state.write(record, as: ourName)
        removeOutdated(name)
        return record
    }

    /// An image as its record is to know it: a disk that has not been handed over gets its own name only then.
    private func standing(_ image: RawImage, _ record: IncomingRecord) throws -> RecordedImage {
        var standing = try RecordedImage(image)
        guard !record.isReturn else { return standing }
        standing.path = path(of: record.export)
        standing.realPath = standing.path
        return standing
    }

    /// Removes a record that another one has taken the place of; where that fails it is harmless until the next start, which
    /// removes it.
    private func removeOutdated(_ name: String) {
        do { try state.remove(name) } catch {
            logger.warning("\(state.path(of: name)) stays, and is not needed any more: \(error)")
        }
    }

    private func restore(_ record: IncomingRecord) async {
        // One that came back and was killed before it forgot that it was to.
        guard arrivals[record.migration] == nil else {
            return removeOutdated(recordName(record.export, Self.returningPrefix))
        }
        replaced[record.migration] = names[record.export]
        names[record.export] = record.migration
        arrivals[record.migration] = .prepared(record, nil, nil)
        if record.blockSize != nil { channels[record.migration] = PostCopyChannels() }
        guard record.phase == .active else { return }
        do {
            try await takeOver(record.migration)
        } catch {
            logger.error("\(record.export) moved to this node but can't be served: \(error)")
            unserved[record.export] = "\(error)"
        }
    }

    /// What is remembered of a disk that has come, or comes, into an image and is not there whole: to serve the image as it
    /// is would be to serve holes, or bytes of an earlier life. nil where all of it is there.
    /// - Parameter elsewhere: who stands at the other paths of the node.
    /// - Throws: `DoubtfulImage` where such an image stood at this path and this is not it; where a record can't be read.
    public static func incomplete(
        _ image: RawImage, in state: StateDirectory, elsewhere: () -> [ImageIdentity] = { [] }
    ) throws -> IncomingRecord? {
        let now = try RecordedImage(image)
        for (name, record) in try state.readAll(IncomingRecord.self, prefix: "\(recordPrefix)-") {
            let isWhole = record.phase == .active && !record.needsSource
            if record.knowsImage, try record.isAbout(image) {
                if isWhole { continue }
                return record
            }
            guard record.isInDoubt(about: now, elsewhere: elsewhere()) else { continue }
            throw DoubtfulImage(path: image.path, file: state.path(of: name), state: state.scratch)
        }
        return nil
    }

    /// Answers everybody who waits; the node ends.
    public func stop() {
        isStopped = true
        for waiter in waiters.values.joined() { waiter.answer(nil) }
        waiters = [:]
        for export in early.values { export.device.close() }
        for channel in channels.values { channel.close() }
        chains.stop()
    }

    /// Ends requests that wait for blocks of a source; the node ends.
    public func giveUp() {
        for postCopy in postCopies.values { postCopy.stop() }
    }

    /// What of an export is still only at its source; nil where nothing is.
    public func arriving(_ export: String) -> PostCopyStatus? { postCopies[export]?.progress() }

    // MARK: Before the hand-over

    /// Finds or makes the image of an incoming disk.
    /// - Throws: `MigrationError.refused` where the name is taken; `FileError`.
    func open(_ offer: Offer, over connection: PeerConnection) async throws -> Receiving {
        guard arrivals[offer.migration] == nil else {
            throw MigrationError.refused("this migration is known already")
        }
        let base = await hooks.base(offer.export, false)
        for attempt in offer.abandoned where names[offer.export] != attempt { try await dropGivenUp(attempt) }
        if let other = names[offer.export], !isEarlierLife(other, base) { try await release(other, offer) }
        // It came here once, and has moved on since: who forwards to it by that migration still does.
        let replaced = names[offer.export]
        if let replaced, !isEarlierLife(replaced, base) {
            throw MigrationError.refused("\(offer.export) is arriving there already")
        }
        if let known = early[offer.export], known.disk.size != offer.size {
            early[offer.export] = nil
            known.device.close()
            await hooks.withdraw(offer.export)
        }
        // Another offer may have come while others were waited for.
        guard arrivals[offer.migration] == nil, names[offer.export] == replaced else {
            throw MigrationError.refused("\(offer.export) is arriving there already")
        }
        try check(offer, base)
        let blocks = (offer.size + UInt64(offer.blockSize) - 1) / UInt64(offer.blockSize)
        try places.check(offer.export, blocks: blocks, from: connection.peer)
        let claim = try checkSpace(for: offer, base)
        let receiving = try image(for: offer, base)
        space.add(claim, for: offer.migration)
        self.replaced[offer.migration] = replaced
        names[offer.export] = offer.migration
        arrivals[offer.migration] = .receiving(receiving)
        receivers[offer.migration] = Connection(connection: connection)
        places.begin(offer.migration, blocks: blocks, from: connection.peer)
        channels[offer.migration] = early[offer.export]?.channels ?? PostCopyChannels()
        return receiving
    }

    /// Somebody asks what moving a disk here would take.
    /// - Throws: `MigrationError.refused` where too many do.
    func beginEstimate(for peer: PeerIdentity) throws {
        guard places.estimates.take(peer) else {
            throw MigrationError.refused(
                "\(places.estimates.total) disks are being looked at already; try again later")
        }
    }

    func endEstimate(for peer: PeerIdentity) { places.estimates.giveBack(peer) }

    /// What there is of a disk that may be moved here, from earlier; touches nothing.
    /// - Throws: `MigrationError.refused` where it would not be taken.
    func look(for offer: Offer) async throws -> RawImage? {
        let base = await hooks.base(offer.export, false)
        guard base != nil || names[offer.export] == nil else {
            throw MigrationError.refused("\(offer.export) is arriving or served there already")
        }
        try check(offer, base)
        _ = try checkSpace(for: offer, base)
        if let base { return base.image }
        let partial = try? RawImage(path: partialPath(of: offer.export), access: .readOnly, followsLink: false)
        return partial?.size == offer.size ? partial : nil
    }

    /// - Throws: `MigrationError.refused` where what is here already keeps a disk out.
    private func check(_ offer: Offer, _ base: ImageBase?) throws {
        if let rival = layout.rival(of: offer.export, among: Array(names.keys) + early.keys) {
            throw MigrationError.refused(
                "\(offer.export) would become \(path(of: offer.export)), which is the file of \(rival); "
                    + "give one of the exports another name")
        }
        guard base != nil || early[offer.export] != nil || !hooks.isNameTaken(offer.export) else {
            throw MigrationError.refused(
                "it has an export '\(offer.export)' already; give the export another name at the source")
        }
        if let base {
            guard base.image.size == offer.size else {
                throw MigrationError.refused(
                    "\(base.image.path) has \(base.image.size) bytes, and the disk that is to come back \(offer.size)")
            }
        } else if access(path(of: offer.export), F_OK) == 0 {
            throw MigrationError.refused(
                "\(path(of: offer.export)) exists already; move it away, or give the export another name at the source")
        }
    }

    /// - Throws: `MigrationError.refused` where there is no room for a disk.
    private func checkSpace(for offer: Offer, _ base: ImageBase?) throws -> ArrivalClaim? {
        let claim = space.claim(for: offer, imagePath: base?.image.path ?? partialPath(of: offer.export))
        if let claim { try space.check(claim, of: offer.export) }
        return claim
    }

    private func image(for offer: Offer, _ base: ImageBase?) throws -> Receiving {
        if let base { return Receiving(image: try base.writableImage(), hasBase: true, movedBy: base.movedBy) }
        // Left by an attempt that was interrupted: what it holds counts only where it is what the source names.
        let partial = partialPath(of: offer.export)
        do {
            let image = try RawImage(path: partial, access: .readWrite, followsLink: false)
            if image.size == offer.size { return Receiving(image: image, hasBase: true, movedBy: nil) }
        } catch let error as ImageInUse {
            throw MigrationError.refused(error.description)
        } catch {}
        unlink(partial)
        return Receiving(
            image: try RawImage.create(path: partial, size: offer.size, permissions: permissions), hasBase: false,
            movedBy: nil)
    }

    /// Where the manifest of a disk is kept while it arrives.
    nonisolated func manifestPath(of export: String) -> String { layout.manifestPath(of: export) }

    /// Whether clients are answered for a disk that is still to be handed over.
    func isAnswered(_ export: String) -> Bool { early[export] != nil }

    /// Whether clients are answered for a disk that nobody brings at the moment.
    public func isDeserted(_ export: String) -> Bool { isAnswered(export) && names[export] == nil }

    /// Answers nobody any more for a disk that nobody brings; what has come of it stays for another attempt.
    /// - Returns: false where somebody does, or there is no such disk.
    public func withdraw(_ export: String) async -> Bool {
        guard isDeserted(export), let known = early.removeValue(forKey: export) else { return false }
        known.device.close()
        await hooks.withdraw(export)
        return true
    }

    /// Answers clients of a disk that is still arriving.
    /// - Returns: what says that one of them wants to write; nil where the node answers nobody early.
    func announce(_ offer: Offer, _ switchover: Switchover) async throws -> ChangeSignal? {
        if case .receiving(let receiving)? = arrivals[offer.migration], receiving.movedBy != nil {
            // Its clients are here already, and are forwarded to the source until then.
            guard switchover != .firstWrite else {
                throw MigrationError.refused(
                    "\(offer.export) comes back to where its clients still are, so that no first write tells that they "
                        + "have moved; use --switch converged, manual or now")
            }
            return nil
        }
        guard !offer.isReadOnly || switchover != .firstWrite else {
            throw MigrationError.refused("\(offer.export) is read-only, so that there is no first write")
        }
        if let known = early[offer.export] { return known.onChange }
        guard let announce = hooks.announce, let channels = channels[offer.migration] else { return nil }
        let signal = ChangeSignal()
        let reads = EarlyReads(channels: channels)
        let device = IncomingDevice(
            reader: reads, refusesChanges: refusesEarlyWrites, isReadOnly: offer.isReadOnly
        ) { signal.raise() }
        reads.listen()
        let disk = try await announce(offer.export, offer.size, device)
        early[offer.export] = EarlyExport(
            device: device, reads: reads, channels: channels, disk: disk, onChange: signal)
        logger.notice(
            "\(offer.export) is answered here already; \(refusesEarlyWrites ? "writes are refused" : "writes wait")")
        return signal
    }

    /// Notes, durably, that a disk is here, or what of it is to be here before the hand-over; its image must be durable
    /// already.
    func prepare(_ record: IncomingRecord, _ parts: PostCopyFiles?) throws {
        guard case .receiving(let receiving)? = arrivals[record.migration] else {
            throw MigrationError.unexpected("a disk that is not arriving")
        }
        // Nobody would find again what is in a file that has no name any more.
        guard receiving.image.isAtPath else {
            throw MigrationError.refused(
                "\(receiving.image.path) has been replaced or deleted while the disk arrived in it")
        }
        if let dismissal = dismissed[record.migration] { throw MigrationError.refused(dismissal.reason) }
        var record = record
        if let movedBy = receiving.movedBy {
            record.imagePath = receiving.image.path
            record.supersedes = movedBy
            if let last = try state.read(IncomingRecord.self, from: recordName(record.export, Self.recordPrefix)) {
                record.earlier = Array(([last.migration] + (last.earlier ?? [])).prefix(IncomingRecord.maximumEarlier))
                record.aliases = last.aliases
            }
        }
        let image = try standing(receiving.image, record)
        record.image = image
        record.inode = image.legacyFile.inode
        try state.flush(directory: images)
        // A disk that comes back keeps the record of its earlier life until it is here.
        try state.write(
            record, as: recordName(record.export, record.isReturning ? Self.returningPrefix : Self.recordPrefix))
        arrivals[record.migration] = .prepared(record, receiving.image, parts)
    }

    /// Where the present map of a disk is kept while blocks are missing.
    nonisolated func mapPath(of export: String) -> String { layout.mapPath(of: export) }

    // MARK: The hand-over

    /// The source has given its word: the disk is served here from now on. May be called again.
    /// - Throws: where there is no such disk, or its image is gone.
    @discardableResult
    func takeOver(_ migration: MigrationID) async throws -> Disk {
        switch arrivals[migration] {
        case .active(let disk)?:
            return disk
        case .activating(let task)?:
            return try await task.value
        case .prepared(let record, let image, let parts)?:
            let task = Task { try await serve(record, image, parts) }
            arrivals[migration] = .activating(task)
            do {
                let disk = try await task.value
                for known in record.known { arrivals[known] = .active(disk) }
                chains.arrived(disk)
                for waiter in waiters.removeValue(forKey: migration) ?? [] { waiter.answer(disk) }
                return disk
            } catch {
                arrivals[migration] = .prepared(record, image, parts)
                throw error
            }
        case .receiving?, nil:
            throw MigrationError.refused("no disk of that migration waits here")
        }
    }

    /// Whether anything is known of a migration.
    func knows(_ migration: MigrationID) -> Bool {
        arrivals[migration] != nil
    }

    /// The two flows of a disk.
    func channels(of migration: MigrationID) -> PostCopyChannels? { channels[migration] }

    /// The connection that brought a disk has ended. What has come of an unprepared disk is kept for the next attempt, or
    /// removed; a prepared one stays until its source says what is to become of it.
    func receiverEnded(_ migration: MigrationID, keepsPartial: Bool) async {
        let dismissal = dismissed.removeValue(forKey: migration)
        places.arriving[migration] = nil
        if case .receiving(let receiving)? = arrivals[migration] {
            if keepsPartial, dismissal == nil {
                forget(migration)
            } else {
                do { try await drop(migration, keepsImage: receiving.movedBy != nil) } catch {
                    // Its source was never told that it is prepared, and names it when it comes again.
                    logger.warning("what is noted of a disk that will not come stays: \(error)")
                    forget(migration)
                }
            }
        }
        for waiter in receivers.removeValue(forKey: migration)?.waiters ?? [] { waiter.resume() }
    }

    /// Drops a disk whose source has said that it keeps it.
    /// - Throws: where a later life may find it again, so that its source is to say so again.
    func abandon(_ migration: MigrationID) async throws {
        switch arrivals[migration] {
        case .receiving(let receiving)?: try await drop(migration, keepsImage: receiving.movedBy != nil)
        case .prepared(let record, _, _)?: try await drop(migration, keepsImage: record.imagePath != nil)
        case .activating?, .active?, nil: break
        }
    }

    /// Ends the link that brought requests for a disk so far, and returns once nothing of it is in flight: a late
    /// request of the old link must not land after a newer one of the new link (invariant 9).
    ///
    /// - Parameter turn: from `nextForwarderTurn`.
    /// - Returns: false where a later connection has taken its place, and its requests may come too late.
    func replaceForwarder(of migration: MigrationID, turn: UInt64, with connection: PeerConnection) async -> Bool {
        while let old = forwarders[migration] {
            old.connection.close()
            await withCheckedContinuation { forwarders[migration]!.waiters.append($0) }
        }
        guard turn >= forwarderTurns[migration]?.committed ?? 0 else { return false }
        if owedFlushes[migration] == nil, case .active(let disk)? = arrivals[migration] {
            owedFlushes[migration] = OwedFlush(disk.losses)
        }
        forwarders[migration] = Connection(connection: connection)
        return true
    }

    /// A forwarding connection has said hello.
    /// - Parameter isCommitted: the source says that it has given the disk away.
    func nextForwarderTurn(of migration: MigrationID, isCommitted: Bool) -> UInt64 {
        var turns = forwarderTurns[migration] ?? (0, 0)
        turns.latest += 1
        if isCommitted { turns.committed = turns.latest }
        forwarderTurns[migration] = turns
        return turns.latest
    }

    /// Tells how a flush of the source's clients ends. What they are owed outlives the connection that brings it.
    /// - Parameter error: how it ended at the disk, whose losses are counted in `losses`.
    func outcome(ofFlush error: CInt, for migration: MigrationID, _ losses: LossCount) -> CInt {
        owedFlushes[migration, default: OwedFlush(losses)].outcome(of: error)
    }

    /// Nothing of the current link is in flight any more.
    func forwarderEnded(of migration: MigrationID) {
        for waiter in forwarders.removeValue(forKey: migration)?.waiters ?? [] { waiter.resume() }
    }

    /// Makes room for an offer where the disk of that name is one that its source has given up.
    private func release(_ other: MigrationID, _ offer: Offer) async throws {
        let isGivenUp = offer.abandoned.contains(other)
        switch arrivals[other] {
        case .prepared? where isGivenUp:
            await endReceiver(of: other)
            if case .prepared? = arrivals[other] { try await drop(other, keepsImage: true) }
        case .receiving? where isGivenUp:
            await endReceiver(of: other)
            if case .receiving? = arrivals[other] { forget(other) }
        case .prepared?:
            throw MigrationError.refused(
                "\(offer.export) has arrived there by another migration and waits for its source; "
                    + "migrate again from that source")
        case .receiving?:
            throw MigrationError.refused(
                "\(offer.export) is arriving there already; wait for it or cancel it")
        case .activating?, .active?, nil:
            throw MigrationError.refused(
                "\(offer.export) is served there already; give the export another name")
        }
    }

    /// Whether a migration brought the disk here that is `base` now.
    private func isEarlierLife(_ migration: MigrationID, _ base: ImageBase?) -> Bool {
        if base != nil, case .active? = arrivals[migration] { true } else { false }
    }

    /// Its source keeps the disk, which may have another name there now.
    private func dropGivenUp(_ migration: MigrationID) async throws {
        switch arrivals[migration] {
        case .prepared?, .receiving?:
            await endReceiver(of: migration)
            try await drop(migration, keepsImage: true)
        case .activating?, .active?, nil: break
        }
    }

    /// Nothing of an attempt may be written any more, nor its image be locked, once the next one looks at the image.
    func endReceiver(of migration: MigrationID) async {
        receivers[migration]?.connection.close()
        while receivers[migration] != nil {
            await withCheckedContinuation { receivers[migration]!.waiters.append($0) }
        }
    }

    /// Forgets an attempt and keeps its image for the next one.
    private func forget(_ migration: MigrationID) {
        arrivals[migration] = nil
        channels[migration] = nil
        places.end(migration)
        space.remove(migration)
        forwarderTurns[migration] = nil
        owedFlushes[migration] = nil
        for (name, owner) in names where owner == migration {
            unlink(manifestPath(of: name))
            names[name] = replaced.removeValue(forKey: migration)
        }
        for waiter in waiters.removeValue(forKey: migration) ?? [] { waiter.answer(nil) }
    }

    /// - Throws: where its record may be found by a later life; everything stays then.
    private func drop(_ migration: MigrationID, keepsImage: Bool) async throws {
        for (name, owner) in names where owner == migration {
            // Only what is this migration's: a disk that comes back has a record of its earlier life.
            for prefix in [Self.recordPrefix, Self.returningPrefix] {
                let file = recordName(name, prefix)
                // Repeated where it has failed before.
                try state.finishRemovals(prefix)
                if try state.read(IncomingRecord.self, from: file)?.migration == migration { try state.remove(file) }
            }
        }
        for (name, owner) in names where owner == migration {
            PresentMapStore.remove(path: mapPath(of: name))
            if !keepsImage { unlink(partialPath(of: name)) }
            if let export = early.removeValue(forKey: name) {
                export.device.close()
                await hooks.withdraw(name)
            }
        }
        forget(migration)
    }

    private func serve(_ record: IncomingRecord, _ received: RawImage?, _ parts: PostCopyFiles?) async throws -> Disk {
        let image = try await image(of: record, received)
        // One that is whole may have grown since.
        guard image.size == record.size || (!record.needsSource && record.phase == .active && image.size > record.size)
        else {
            throw MigrationError.unexpected("\(image.path) is not the \(record.size) bytes long that arrived")
        }
        guard try record.isAbout(image) else {
            throw DoubtfulImage(
                path: image.path, file: state.path(of: recordName(record.export, Self.recordPrefix)),
                state: state.scratch)
        }
        if record.imagePath == nil, access(partialPath(of: record.export), F_OK) == 0 {
            try image.rename(to: path(of: record.export))
            // Under either name a later life finds it.
            try state.flush(directory: images)
        }
        try note(active: record)
        guard record.needsSource else {
            removeArrivalFiles(record.export)
            space.remove(record.migration)
            places.end(record.migration)
            let disk = try await activate(record, image, FileDevice(image: try record.served(image)), nil)
            if let ledger = record.arrived { repeatCompletion(ledger, record.migration) }
            return disk
        }
        return try await servePartly(record, image, parts)
    }

    /// Notes, durably, that a disk is served here.
    private func note(active record: IncomingRecord) throws {
        var record = record
        record.phase = .active
        record.aliases = try aliases(of: record)
        try state.write(record, as: recordName(record.export, Self.recordPrefix))
        if record.imagePath != nil { try state.remove(recordName(record.export, Self.returningPrefix)) }
    }

    private func servePartly(_ record: IncomingRecord, _ image: RawImage, _ parts: PostCopyFiles?) async throws -> Disk
    {
        guard let geometry = BlockGeometry(size: record.size, blockSize: record.blockSize ?? 0) else {
            throw MigrationError.unexpected("blocks of \(record.blockSize ?? 0) bytes")
        }
        let parts =
            try parts
            ?? PostCopyFiles(
                store: PresentMapStore(path: mapPath(of: record.export), geometry: geometry),
                manifest: FingerprintFile(geometry: geometry, path: manifestPath(of: record.export), isNew: false))
        let postCopy = try PostCopy(
            parts: PostCopy.Parts(
                export: record.export, image: image, store: parts.store, manifest: parts.manifest,
                announced: FingerprintFile(geometry: geometry, directory: state.scratch), index: index(),
                channels: channels[record.migration] ?? PostCopyChannels(), pools: pools, logger: logger,
                complete: { [self] in try await complete(record, image, $0) }))
        let device = ResolvingDevice(image: image, map: parts.store.map, resolver: postCopy)
        space.add(
            space.claim(
                image.path, size: record.size, blockSize: geometry.blockSize,
                dataBytes: try image.allocatedBytes().addingClamped(
                    parts.store.map.missing.multipliedClamped(by: UInt64(geometry.blockSize)))),
            for: record.migration)
        // Known before anybody can ask for the disk: it must not be taken for whole.
        postCopies[record.export] = postCopy
        do {
            let disk = try await activate(record, image, device, parts.store.map)
            postCopy.start()
            return disk
        } catch {
            postCopies[record.export] = nil
            throw error
        }
    }

    private func activate(
        _ record: IncomingRecord, _ image: RawImage, _ device: BlockDevice, _ map: DurablePresentMap?
    ) async throws -> Disk {
        let export = early[record.export]
        let disk = try await hooks.activate(
            ArrivedDisk(
                export: record.export, image: try record.served(image), device: device, map: map, early: export?.disk,
                supersedes: record.supersedes, isReturn: record.imagePath != nil,
                isReadOnly: record.isReadOnly ?? false))
        early[record.export] = nil
        if let export {
            export.device.open(device)
            await export.disk.switchDevice(device)
        }
        return disk
    }

    private func image(of record: IncomingRecord, _ received: RawImage?) async throws -> RawImage {
        if let received { return received }
        if let own = record.imagePath {
            return try await hooks.base(record.export, true)?.writableImage() ?? RawImage(path: own, access: .readWrite)
        }
        let partial = partialPath(of: record.export)
        // A crash may have come between the renaming and the record of it.
        let isInPlace = access(partial, F_OK) != 0
        return try RawImage(
            path: isInPlace ? path(of: record.export) : partial, access: .readWrite,
            followsLink: isInPlace && !FolderAccess(images).isOpenToOthers)
    }

    // MARK: The end

    /// Everything is here: notes so durably, and serves the disk as any other.
    private func complete(_ record: IncomingRecord, _ image: RawImage, _ ledger: Ledger) async throws {
        var record = record
        record.arrived = ledger
        try note(active: record)
        // All may have come before the disk's being served was noted.
        let disk = try await takeOver(record.migration)
        await disk.fence()
        await disk.replaceDevice(FileDevice(image: (try? record.served(image)) ?? image))
        await disk.unfence()
        space.remove(record.migration)
        places.end(record.migration)
        postCopies[record.export] = nil
        removeArrivalFiles(record.export)
        await hooks.completed(record.export)
        logger.info("\(record.export) is here whole")
    }

    /// Tells a source that comes again, because it has not heard so, that everything is here.
    private func repeatCompletion(_ ledger: Ledger, _ migration: MigrationID) {
        let channels = channels[migration] ?? PostCopyChannels()
        self.channels[migration] = channels
        channels.listen(
            PostCopyChannels.Listener(
                event: { event in
                    if case .up(.bulk, _) = event { channels.send(.postcopy(.complete(ledger)), on: .bulk) }
                }, message: { _, _ in }))
    }

    private func removeArrivalFiles(_ export: String) {
        PresentMapStore.remove(path: mapPath(of: export))
        unlink(manifestPath(of: export))
    }

    private func path(of export: String) -> String { layout.path(of: export) }
    private func partialPath(of export: String) -> String { layout.partialPath(of: export) }
    static let recordPrefix = "incoming"
    static let returningPrefix = "returning"
    func recordName(_ export: String, _ prefix: String) -> String {
        layout.recordName(export, prefix)
    }
}
