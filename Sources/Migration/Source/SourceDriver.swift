import Block
import BlockModel
import MigrationCore
import MigrationProtocol
import Peer

/// Performs the steps of `SourceMachine` over one connection to the destination, up to the moment at which the destination
/// serves the disk.
struct SourceDriver {
    /// The link beside the connection of the migration itself, and who is told of the links that outlive that.
    struct Links: Sendable {
        let forward: ForwardLink
        let supplying: @Sendable (PostCopySourceLink) -> Void
        let forwarding: @Sendable (ForwardLink) -> Void
    }

    /// The facts about a switchover once the destination serves the disk.
    struct SwitchedOver: Sendable {
        var root: DiskRoot
        var leavesRest: Bool
        var wire: WireBytes
        /// From when to when the guest was held back.
        var fenced: ContinuousClock.Instant
        var end: ContinuousClock.Instant
    }

    /// How often the dirty map of a disk that waits for its switchover is measured again: no event tells how much a guest
    /// has written.
    private static let idleInterval = Duration.milliseconds(200)
    /// The same while the disk waits for others. Those go by what this disk has said last, so that must hardly be old.
    private static let agreementInterval = Duration.milliseconds(10)
    /// How long the switchover is put off for the forwarding link.
    private static let connectLimit = Duration.seconds(2)
    /// The longest time for which a migration waits for the free blocks, which decide an order only.
    private static let freeLimit = Duration.seconds(15)

    let migration: SourceMigration
    let link: SourceLink
    let links: Links
    let exchange: PrefixExchange
    var receiver: SourceReceiver
    var opened: (copy: SourceCopy, rest: RemainingBlocks)?
    private(set) var downtime: Downtime
    private var repeats = AheadRepeats()
    /// The destination takes a dirty bitmap.
    private(set) var takesBitmap = false
    /// Behind the fence.
    var fenced = ContinuousClock.now
    var fenceWatch: Task<Void, any Error>?
    /// The source's root, and what it is without.
    var root: (ours: DiskRoot, missing: BlockSet)?
    var end = ContinuousClock.now

    init(
        migration: SourceMigration, link: SourceLink, links: Links, exchange: PrefixExchange, receiver: SourceReceiver
    ) {
        self.migration = migration
        self.link = link
        self.links = links
        self.exchange = exchange
        downtime = Downtime(allowed: migration.job.maximumPause, disks: migration.group.count)
        self.receiver = receiver
    }

    var job: SourceJob { migration.job }
    var group: SwitchGroup { migration.group }
    var copy: SourceCopy { opened!.copy }

    /// Performs all steps.
    /// - Throws: what went wrong; unless the commit record has been written, all that was done is to be undone.
    mutating func run() async throws -> SwitchedOver {
        // Everything is read anew. Clients are told of losses by themselves.
        job.image.forgetLosses()
        try job.image.checkIsDurable()
        defer { fenceWatch?.cancel() }
        var step = SourceMachine.Step.greet
        while step != .supplyRest, step != .finish { step = try await perform(step) }
        return SwitchedOver(
            root: root!.ours, leavesRest: step == .supplyRest, wire: link.wire, fenced: fenced, end: end)
    }

    func advance(_ event: (inout SourceMachine) throws -> SourceMachine.Step) rethrows -> SourceMachine.Step {
        try migration.advance(event)
    }

    private mutating func perform(_ step: SourceMachine.Step) async throws -> SourceMachine.Step {
        switch step {
        case .greet, .offer, .open, .meetBeforeCopying, .start: try await begin(step)
        case .copyManifest, .endRound, .connect, .measure, .agree, .awaitOthers, .wait, .copy:
            try await performRound(step)
        case .flushCopying, .nameAhead, .flush, .meetBeforeFence: try await prepare(step)
        case .fence, .sendRest, .nameRest, .compare, .commit, .forward, .awaitActive: try await switchOver(step)
        case .supplyRest, .finish: preconditionFailure("the connection is not needed any more")
        }
    }

    // MARK: Before the first block

    private mutating func begin(_ step: SourceMachine.Step) async throws -> SourceMachine.Step {
        let handshake = SourceHandshake(
            job: job, migration: migration.id, purpose: .migrate, pool: migration.pools.urgent)
        switch step {
        case .greet:
            let places = try await handshake.places()
            migration.state.withLockedValue { $0.machine.places = places }
            let asked = ContinuousClock.now
            try await link.send(handshake.hello)
            let next = try await receiver.nextStep()
            downtime.roundTrip = asked.duration(to: .now)
            return next
        case .offer(let geometry, let agreement):
            let abandoned = try job.records.begin(migration.id, to: job.destination)
            try await link.send(try await handshake.offer(geometry, agreement, abandoned: abandoned))
            let next = try await receiver.nextStep()
            if !abandoned.isEmpty { try job.records.accepted(migration.id, by: job.destination) }
            return next
        case .open(let opened):
            return try await open(opened)
        case .meetBeforeCopying:
            try await group.meetBeforeCopying(migration.member)
            return advance { $0.met() }
        case .start(let isReadyAtOnce, let expects):
            let supply = supplyLink(copy.geometry)
            migration.state.withLockedValue { $0.supply = supply }
            if isReadyAtOnce {
                supply.start()
                links.forward.start()
            }
            if let expects { try await link.send(.postcopy(.expect(expects))) }
            return advance { $0.started() }
        default: preconditionFailure("\(step) is not the beginning")
        }
    }

    private mutating func open(_ opened: OpenedMigration) async throws -> SourceMachine.Step {
        let free = FreeBlocks(of: job.image, opened.geometry, job.readFree)
        let copy = try SourceCopy(
            job: job, migration: migration.id, opened: opened, free: free, link: link, disks: group.count,
            pools: migration.pools, relative: try await relative(of: opened),
            isWanted: { [migration] in migration.isWanted }, update: { [migration] in migration.update($0) })
        let rest = RemainingBlocks(of: copy, image: job.image, link: link, pool: migration.pools.urgent)
        self.opened = (copy, rest)
        takesBitmap = opened.takesBitmap
        if job.readBitmap != nil, !takesBitmap {
            migration.logger.warning(
                """
                \(job.export): its dirty bitmap does not move, since the destination's release takes none; it shows all \
                blocks once the disk is back
                """)
        }
        await job.track(copy.dirtyMap)
        let next = advance { $0.opened() }
        migration.state.withLockedValue { state in
            state.wasAccepted = true
            state.agreed = copy.agreed
            state.blockMap = copy.blockMap
        }
        job.accepted()
        return next
    }

    /// A destination with an older copy of the disk lacks little that a prefix could shorten. On a fast link, the search would
    /// take longer than what it saves.
    private func relative(of opened: OpenedMigration) async throws -> RelativeSearch? {
        guard opened.takesPrefix, !opened.hasBase, !migration.isWanted, let openIndex = job.openIndex,
            RelativeChoice.isWorthSearching(bitsPerSecond: link.rateLimit, roundTrip: downtime.roundTrip)
        else { return nil }
        let pool = migration.pools.background
        guard let index = try await pool.runIfActive({ openIndex() }), index.blockSize == opened.geometry.blockSize
        else { return nil }
        return RelativeSearch(
            image: job.image, geometry: opened.geometry,
            index: job.domains.isEmpty ? index : index.restricted(to: Set(job.domains)), pool: pool,
            exchange: exchange)
    }

    private func supplyLink(_ geometry: BlockGeometry) -> PostCopySourceLink {
        PostCopySourceLink(
            parts: PostCopySourceLink.Parts(
                destination: job.destination, export: job.export, migration: migration.id, image: job.image,
                geometry: geometry, reads: job.disk.reads, free: copy.free, rate: job.rate, records: job.records,
                transport: migration.transport, pools: migration.pools, logger: migration.logger,
                blockMap: copy.blockMap))
    }

    // MARK: Rounds

    private mutating func performRound(_ step: SourceMachine.Step) async throws -> SourceMachine.Step {
        switch step {
        case .copyManifest:
            // The destination answers clients already. A disk that goes at once is copied by post-copy, which asks later.
            await copy.free.wait(atMost: Self.freeLimit) { [migration, link] in migration.isWanted || !link.isOpen }
            migration.update { $0.free = copy.free.known.map { FreeBytes(known: $0) } }
            try await copy.firstRound(&receiver)
            return advance { $0.copied() }
        case .endRound(let round):
            let began = ContinuousClock.now
            try await link.send(.roundEnd(UInt32(round)))
            let next = try await receiver.nextStep()
            try await copy.roundEnded(waited: began.duration(to: .now))
            return next
        case .connect:
            // Otherwise the guest would wait for the connection, and the decision would grow stale.
            links.forward.start()
            await links.forward.waitUntilConnected(atMost: Self.connectLimit)
            if let roundTrip = links.forward.roundTrip { downtime.roundTrip = min(downtime.roundTrip, roundTrip) }
            return advance { $0.connected() }
        case .measure:
            let situation = situation
            return advance { $0.measured(situation) }
        case .agree(let isReady):
            let (isClosed, isAssembled) = group.note(migration.member, isReady: isReady)
            return advance { $0.agreed(isClosed: isClosed, isAssembled: isAssembled) }
        case .awaitOthers:
            try await group.waitForOthers(migration.member, atMost: Self.agreementInterval)
            guard link.isOpen else { throw PeerError.cut }
            let situation = situation
            return advance { $0.measuredAgain(situation) }
        case .wait:
            try await group.waitForSwitch(atMost: Self.idleInterval)
            guard link.isOpen else { throw PeerError.cut }
            return advance { $0.waited() }
        case .copy(let round, let scope):
            _ = group.note(migration.member, isReady: false)
            try await copy.dirtyRound(round, scope)
            return advance { $0.copied() }
        default: preconditionFailure("\(step) is not a round")
        }
    }

    private var situation: SourceMachine.Situation {
        let dirty = copy.dirtyBytes
        return downtime.situation(
            dirty: dirty, settled: copy.settledBytes, sending: copy.sendingTime(of: dirty),
            threshold: job.dirtyThreshold)
    }

    // MARK: Ahead of the fence

    private mutating func prepare(_ step: SourceMachine.Step) async throws -> SourceMachine.Step {
        switch step {
        case .flushCopying(let round):
            try await opened!.rest.flush(copyingIn: round) { [migration] in migration.isWanted }
            return advance { $0.flushed() }
        case .nameAhead(let round):
            let began = ContinuousClock.now
            try await opened!.rest.nameAhead(round)
            guard case .named = try await receiver.next() else {
                preconditionFailure("the machine lets only the confirmation through")
            }
            let isAgain = repeats.ended(after: began.duration(to: .now))
            return advance { $0.named(repeats: isAgain) }
        case .flush:
            try await opened!.rest.flush()
            return advance { $0.flushed() }
        case .meetBeforeFence:
            try await group.meetBeforeFence(migration.member)
            return advance { $0.met() }
        default: preconditionFailure("\(step) is not ahead of the fence")
        }
    }
}
