import Block
import BlockModel
import Index
import Logging
import MigrationCore
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer

/// Serves one connection of a peer: performs what `DestinationMachine` orders, or takes forwarded requests.
public struct DestinationMigration: Sendable {
    private static let patience = Duration.seconds(5)
    /// How long a peer may take to make its offer.
    private static let offerPatience = Duration.seconds(30)
    /// How long a segment waits at most for blocks that come for another disk, and how often it looks.
    private static let sharingPatience = Duration.seconds(60)
    private static let sharingInterval = Duration.milliseconds(10)

    private let site: DestinationSite
    private let indexDirectory: String?
    private let client: @Sendable (Disk) -> DiskClient
    private let pools: WorkPools
    private let logger: Logger
    private let hasRoom: @Sendable () -> Bool
    private let budgets = PeerBudgets()
    /// How long a peer may say nothing once it has made its offer.
    var arrivalPatience = ArrivalPatience()

    /// - Parameters:
    ///   - indexDirectory: the index of the neighbours; nil for none.
    ///   - client: makes the way to a disk for forwarded requests.
    ///   - pools: for hashing and the files.
    ///   - hasRoom: whether this process has descriptors for one more disk.
    public init(
        site: DestinationSite, indexDirectory: String?, pools: WorkPools, logger: Logger,
        hasRoom: @escaping @Sendable () -> Bool = { true }, client: @escaping @Sendable (Disk) -> DiskClient
    ) {
        self.hasRoom = hasRoom
        self.site = site
        self.indexDirectory = indexDirectory
        self.client = client
        self.pools = pools
        self.logger = logger
    }

    /// Talks with a peer until either side has had enough.
    public func serve(_ connection: PeerConnection) async {
        var frames = connection.inbound.makeAsyncIterator()
        do {
            guard let frame = try await frames.next(), case .hello(let hello) = try Message(frame: frame)
            else {
                throw MigrationError.unexpected("no hello")
            }
            _ = try ProtocolSupport.agreement(source: hello.support, destination: .own)
            if [.migrate, .estimate].contains(hello.purpose), !hasRoom() {
                throw MigrationError.refused(
                    "its node has hardly any file descriptors left; raise its limit (LimitNOFILE=), or try again later")
            }
            switch hello.purpose {
            case .unknown:
                throw MigrationError.refused(
                    "it does not know what this connection is for; run the same release on both sides")
            case .migrate: try await receive(hello, connection, &frames)
            case .estimate: try await estimate(hello, connection, &frames)
            case .forward: try await takeRequests(hello, connection, &frames)
            case .demand: try await carry(.demand, hello, connection, &frames)
            case .bulk: try await carry(.bulk, hello, connection, &frames)
            }
        } catch {
            logger.debug("peer connection ended: \(error)")
            await end(connection, &frames, with: .refused(reason: Self.reason(error)))
        }
    }

    // MARK: A disk that arrives

    private func receive(
        _ hello: Hello, _ connection: PeerConnection,
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        let (index, blockSize) = try await welcome(connection)
        var arrival = Arrival(hello, index: index, blockSize: blockSize)
        var limits = arrivalPatience
        var patience = Patience(Self.offerPatience, for: connection)
        defer { patience.end() }
        do {
            while let frame = try await frames.next() {
                if let offer = arrival.offer, let dismissal = await site.dismissed[offer.migration] {
                    throw MigrationError.refused(dismissal.reason)
                }
                let action = try arrival.machine.receive(try Message(frame: frame))
                if case .open = action { patience.end() } else { patience.pause() }
                let goesOn = try await perform(action, &arrival, connection)
                // A place is not for whoever only takes it.
                if let limit = limits.limit(after: action) {
                    if case .open = action {
                        patience = Patience(limit, for: connection, bytesCount: true)
                    } else {
                        patience.renew(limit)
                    }
                }
                guard goesOn else {
                    if let offer = arrival.offer { await site.receiverEnded(offer.migration, keepsPartial: false) }
                    return
                }
            }
            throw PeerError.cut
        } catch {
            guard let offer = arrival.offer else { throw error }
            var isWorthKeeping = arrival.disk?.isWorthKeeping ?? false
            // Whoever is attached to it already waits for the next attempt.
            if await site.isAnswered(offer.export) { isWorthKeeping = arrival.disk?.mayBeKept ?? true }
            // The next attempt needs the image's lock.
            arrival.disk = nil
            await site.receiverEnded(offer.migration, keepsPartial: isWorthKeeping && Self.isCut(error))
            if arrival.machine.state == .active { return }
            if error is CancellationError {
                logger.notice("\(offer.export) was arriving; its source goes on when this node is started again")
            } else {
                logger.warning("the migration of \(offer.export) to this node has failed: \(error)")
            }
            await end(connection, &frames, with: .failed(reason: Self.reason(error)))
        }
    }

    /// Answers the hello of a source.
    /// - Returns: the neighbours, and the block size that goes with them.
    private func welcome(_ connection: PeerConnection) async throws -> (NeighbourIndex?, UInt32) {
        let index = try openIndex()
        let blockSize = UInt32(index?.blockSize ?? BlockGeometry.standardBlockSize)
        try await connection.send(Message.welcome(Welcome(blockSize: blockSize)).encoded())
        return (index, blockSize)
    }

    /// - Parameter hasBase: whether an older copy of the disk is here.
    private func accept(_ hello: Hello, hasBase: Bool, _ connection: PeerConnection) async throws {
        let knowsSummaries = hello.support.capabilities.contains(.summaries)
        let answer = hasBase && knowsSummaries ? Message.acceptedOnBase : .accepted
        try await connection.send(answer.encoded())
    }

    /// Says what would be wanted of a disk that may be moved here.
    private func estimate(
        _ hello: Hello, _ connection: PeerConnection,
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        try await site.beginEstimate(for: connection.peer)
        do {
            try await answerEstimate(hello, connection, &frames)
        } catch {
            await site.endEstimate(for: connection.peer)
            throw error
        }
        await site.endEstimate(for: connection.peer)
    }

    private func answerEstimate(
        _ hello: Hello, _ connection: PeerConnection,
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        let (index, blockSize) = try await welcome(connection)
        let patience = Patience(Self.offerPatience, for: connection)
        defer { patience.end() }
        var machine = DestinationMachine()
        var disk: EstimatedDisk?
        while let frame = try await frames.next() {
            patience.renew()
            switch try machine.receive(try Message(frame: frame)) {
            case .open(let offer, let geometry):
                try offer.checkBlockSize(blockSize)
                let base = try await site.look(for: offer)
                disk = EstimatedDisk(
                    base: base, geometry: geometry, index: index?.restricted(for: offer)
                ) { [shared = site.shared] in
                    shared.has($0, domains: Set(offer.domains), blockSize: geometry.blockSize)
                }
                connection.allowOrdinaryFrames()
                try await accept(hello, hasBase: base != nil, connection)
            case .compare(let summary):
                let differences = try await pools.background.runIfActive { [disk] in try disk!.compare(summary) }
                try await connection.send(Message.differences(differences).encoded())
            case .resolve(let segment):
                let wants = try await pools.background.runIfActive { [disk] in try disk!.resolve(segment) }
                try await connection.send(Message.wants(wants).encoded())
            case .clear:
                break
            case .finishManifest:
                try await connection.send(Message.manifestDone.encoded())
            default:
                throw MigrationError.unexpected("more than a question")
            }
        }
    }

    /// Whether it was the link that failed, or this node that ends, and not what came: the source will be back.
    private static func isCut(_ error: any Error) -> Bool {
        error is ChannelError || error is IOError || error is CancellationError
            || {
                if case PeerError.cut = error { true } else { false }
            }()
    }

    /// What belongs to one migration on its way.
    private struct Arrival {
        var machine = DestinationMachine()
        let hello: Hello
        let index: NeighbourIndex?
        let blockSize: UInt32
        var offer: Offer?
        var disk: IncomingDisk?
        var waitsForOthers = true
        /// The disk has been gone over as a whole: for what comes now a guest may wait.
        var isLate = false

        init(_ hello: Hello, index: NeighbourIndex?, blockSize: UInt32) {
            self.hello = hello
            self.index = index
            self.blockSize = blockSize
        }
    }

    /// - Returns: whether to go on.
    private func perform(
        _ action: DestinationMachine.Action, _ arrival: inout Arrival, _ connection: PeerConnection
    ) async throws -> Bool {
        switch action {
        case .open(let offer, let geometry):
            try await open(offer, geometry, &arrival, connection)
            connection.allowOrdinaryFrames()
            try await accept(arrival.hello, hasBase: arrival.disk!.hasBase, connection)
        case .compare(let summary):
            let differences = try await onDisk(arrival) { try $0.compare(summary) }
            try await connection.send(Message.differences(differences).encoded())
        case .resolve(let segment):
            try await waitForOthers(segment, &arrival, connection)
            let wants = try await onDisk(arrival) { try $0.resolve(segment) }
            try await connection.send(Message.wants(wants).encoded())
        case .clear(let blocks):
            try await onDisk(arrival) { try $0.clear(blocks) }
        case .store(let segment, let bytes):
            try await onDisk(arrival) { try $0.store(segment, byteCount: bytes) }
        case .finishManifest:
            try await connection.send(Message.manifestDone.encoded())
        case .finishRound(let round):
            try await settle(arrival)
            arrival.isLate = true
            try await connection.send(Message.roundDone(round).encoded())
        case .prepare(let theirs):
            try await prepare(theirs, &arrival, connection)
        case .expect(let switchover):
            guard switchover.isAnsweredEarly else { break }
            let signal = try await site.announce(arrival.offer!, switchover)
            // Elsewhere than with the first write, only the operator at the source hands the disk over.
            guard switchover == .firstWrite else { break }
            signal?.listen { Task { try? await connection.send(Message.postcopy(.switchNow).encoded()) } }
        case .forget(let blocks):
            try await onDisk(arrival, isUrgent: true) { try $0.note(dirty: blocks) }
        case .prepareRest:
            try await prepareRest(&arrival, connection)
        case .activate:
            try await site.takeOver(arrival.offer!.migration)
            arrival.machine.activated()
            try await connection.send(Message.active.encoded())
            logger.info("\(arrival.offer!.export) has arrived and is served here")
            return false
        case .abandon(let reason):
            if let offer = arrival.offer {
                logger.info("the migration of \(offer.export) to this node was given up: \(reason)")
                do { try await site.abandon(offer.migration) } catch {
                    logger.warning("\(offer.export) can't be given up here yet: \(error)")
                    // Without the answer the source remembers it, and says so again when it comes again.
                    return false
                }
            }
            // The source then need not remember that it has given this up.
            try? await connection.send(Message.failed(reason: reason).encoded())
            return false
        }
        return true
    }

    /// The guest may be waiting already: the disk is written while its root is worked out.
    private func settle(_ arrival: Arrival) async throws {
        async let isSettled: Void = onDisk(arrival) { try $0.settle() }
        try await onDisk(arrival) { try $0.synchronize() }
        try await isSettled
    }

    private func open(
        _ offer: Offer, _ geometry: BlockGeometry, _ arrival: inout Arrival, _ connection: PeerConnection
    ) async throws {
        try offer.checkBlockSize(arrival.blockSize)
        let receiving: DestinationSite.Receiving
        do {
            receiving = try await site.open(offer, over: connection)
        } catch let error as FileError {
            throw MigrationError.refused(error.description)
        }
        arrival.offer = offer
        arrival.disk = try IncomingDisk(
            image: receiving.image, hasBase: receiving.hasBase, geometry: geometry,
            index: arrival.index?.restricted(for: offer),
            shared: site.shared.join(receiving.image, geometry, domains: Set(offer.domains)),
            manifestPath: site.manifestPath(of: offer.export))
        let base = receiving.hasBase ? ", of which an older copy is here" : ""
        logger.info("\(offer.export) is arriving: \(offer.size) bytes\(base)")
    }

    /// What has been asked for already, for a disk that began to arrive earlier, is better waited for than asked for again.
    /// Once it has not come for very long, no more.
    private func waitForOthers(
        _ segment: ManifestSegment, _ arrival: inout Arrival, _ connection: PeerConnection
    ) async throws {
        let end = ContinuousClock.now + Self.sharingPatience
        while arrival.waitsForOthers, arrival.disk!.mayComeSoon(segment) {
            try await Task.sleep(for: Self.sharingInterval)
            guard connection.isOpen else { throw PeerError.cut }
            arrival.waitsForOthers = ContinuousClock.now < end
        }
    }

    /// Both sides compare: this one says what it has, and prepares only if that is what the source has.
    private func prepare(_ theirs: DiskRoot, _ arrival: inout Arrival, _ connection: PeerConnection)
        async throws
    {
        let ours = try await onDisk(arrival, isUrgent: true) { try $0.root() }
        let offer = arrival.offer!
        if ours == theirs {
            try await site.prepare(
                IncomingRecord(prepared: offer, root: ours), nil)
            arrival.machine.prepared()
        }
        try await connection.send(Message.prepared(ours).encoded())
    }

    /// Prepares what is here, and says what is not.
    private func prepareRest(_ arrival: inout Arrival, _ connection: PeerConnection) async throws {
        let offer = arrival.offer!
        guard let geometry = BlockGeometry(size: offer.size, blockSize: Int(offer.blockSize)) else {
            preconditionFailure("an offer that was accepted")
        }
        let path = site.mapPath(of: offer.export)
        let (missing, isNamed) = try await onDisk(arrival, isUrgent: true) { try $0.leave() }
        // At the same time: the guest waits.
        async let root = onDisk(arrival, isUrgent: true) { try $0.root(naming: missing) }
        let parts = try await onDisk(arrival, isUrgent: true) { disk -> PostCopyFiles? in
            try disk.synchronizeAll()
            if disk.isWhole { return nil }
            let store = try PresentMapStore.create(path: path, geometry: geometry, present: disk.present)
            return PostCopyFiles(store: store, manifest: disk.manifest)
        }
        let ours = try await root
        var record = IncomingRecord(prepared: offer, root: ours)
        if parts != nil { record.blockSize = geometry.blockSize }
        try await site.prepare(record, parts)
        arrival.machine.prepared()
        if !isNamed || !arrival.hello.support.capabilities.contains(.unsaidMissing) {
            for runs in RunChunks(missing) { try await connection.send(Message.postcopy(.missing(runs)).encoded()) }
        }
        try await connection.send(Message.prepared(ours).encoded())
    }

    private func onDisk<Result: Sendable>(
        _ arrival: Arrival, isUrgent: Bool = false, _ body: @escaping @Sendable (IncomingDisk) throws -> Result
    ) async throws -> Result {
        let disk = arrival.disk!
        let isUrgent = arrival.isLate || isUrgent
        return try await (isUrgent ? pools.urgent : pools.background).runIfActive { try body(disk) }
    }

    /// A damaged table costs its neighbour's help, not the migration.
    private func openIndex() throws -> NeighbourIndex? {
        guard let indexDirectory else { return nil }
        do {
            let index = try NeighbourIndex.open(directory: indexDirectory)
            for problem in index.problems { logger.warning("\(problem)") }
            return index
        } catch {
            logger.warning("migrating without neighbours: \(error)")
            return nil
        }
    }

    /// Says the last word and waits a moment until the peer has heard it and hangs up: closing while its data is still
    /// coming in would make the kernel throw the word away.
    private func end(
        _ connection: PeerConnection, _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
        with message: Message
    ) async {
        let patience = Task {
            try await Task.sleep(for: Self.patience)
            connection.close()
        }
        defer { patience.cancel() }
        do {
            try await connection.send(message.encoded())
            while try await frames.next() != nil {}
        } catch {}
    }

    // MARK: Requests for a disk that has arrived

    private func takeRequests(
        _ hello: Hello, _ connection: PeerConnection,
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        if hello.isCommitted { try await site.takeOver(hello.migration) }
        guard await site.knows(hello.migration) else {
            throw MigrationError.refused("no disk of that migration is here")
        }
        try await connection.send(Message.welcome(Welcome(blockSize: 0, boot: MachineBoot.current)).encoded())
        let turn = await site.nextForwarderTurn(of: hello.migration, isCommitted: hello.isCommitted)
        // Long ones wait until the disk is served here, and this connection is the one that asks for it.
        connection.announceLongFrames()
        let place = await site.forwarderWaits(hello.migration, connection)
        let reader = ForwardReader(connection: connection, migration: hello.migration, site: site)
        async let _: Void = reader.tell(hello.support.capabilities)
        // The link is there before the disk is: what matters is the first request.
        let first: ForwardReader.Arrival?
        do { first = try await reader.next(&frames) } catch {
            await site.forwarderAsked(hello.migration, place)
            throw error
        }
        var disk: Disk?
        if first != nil { disk = await site.disk(of: hello.migration, for: connection) }
        if disk != nil, !(await site.replaceForwarder(of: hello.migration, turn: turn, with: connection)) { disk = nil }
        await site.forwarderAsked(hello.migration, place)
        guard let first, let disk else { return }
        connection.allowPromptFrames()
        do {
            try await ForwardServer(
                reader: reader, client: client(disk), losses: disk.losses, budget: budgets.budget(of: connection.peer)
            ).run(first, &frames)
        } catch {
            logger.debug("forwarding link ended: \(error)")
        }
        await site.forwarderEnded(of: hello.migration)
    }

    // MARK: The flows of a disk that has not arrived whole

    private func carry(
        _ kind: PostCopyChannel, _ hello: Hello, _ connection: PeerConnection,
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        if hello.isCommitted { try await site.takeOver(hello.migration) }
        guard let channels = await site.channels(of: hello.migration) else {
            throw MigrationError.refused("no disk of that migration is here")
        }
        try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
        do {
            try await channels.run(
                kind, connection, hello.support.capabilities, budget: budgets.budget(of: connection.peer), &frames)
        } catch {
            if !Self.isCut(error), channels.note(problem: "\(error)") {
                logger.warning("the rest of \(hello.export): \(error); the source will try again")
            }
            throw error
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case MigrationError.refused(let reason): reason
        default: String(describing: error)
        }
    }
}

extension Offer {
    /// - Throws: `MigrationError.refused` where blocks are of another size here.
    fileprivate func checkBlockSize(_ size: UInt32) throws {
        guard blockSize == size else {
            throw MigrationError.refused("blocks are of \(size) bytes here, not of \(blockSize)")
        }
    }
}

extension NeighbourIndex {
    /// The neighbours that may be drawn on for a disk.
    fileprivate func restricted(for offer: Offer) -> NeighbourIndex {
        offer.domains.isEmpty ? self : restricted(to: Set(offer.domains))
    }
}
