import Block
import BlockModel
import Logging
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Peer
import PeerModel

/// Moves one disk away, at the moment that its `SwitchGroup` agrees on: performs what `SourceMachine` orders, over one
/// connection to the destination.
public final class SourceMigration: Sendable {
    private struct State {
        var machine: SourceMachine
        /// The destination has taken the offer.
        var wasAccepted = false
        var link: SourceLink?
        /// For what follows afterwards.
        var supply: PostCopySourceLink?

        /// Bytes that crossed so far; nil before there is a link.
        var crossed: UInt64? { link.map { $0.wire.total + (supply?.wire.total ?? 0) } }
    }

    /// How long a guest is kept waiting for a destination that does not answer before the migration is given up; longer
    /// where a longer pause is allowed.
    private static let shortestFenceLimit = Duration.seconds(10)
    /// How often a disk that waits for its switchover is looked at.
    private static let idleInterval = Duration.milliseconds(200)
    /// How often a disk that could go looks whether the others could.
    private static let agreementInterval = Duration.milliseconds(10)
    /// How long the hand-over is put off for the forwarding link.
    private static let connectLimit = Duration.seconds(2)

    private let job: SourceJob
    private let group: SwitchGroup
    /// Its number in the group.
    private let member: Int
    private let id = MigrationID()
    private let transport: PeerTransport
    private let logger: Logger
    private let pools: WorkPools
    private let state: NIOLockedValueBox<State>
    private let status = NIOLockedValueBox(MigrationProgress())
    private let recently = NIOLockedValueBox(RecentRate())

    /// A migration that has not begun.
    /// - Parameters:
    ///   - group: the disks that go at the same moment.
    ///   - member: its number among them, from 0.
    ///   - transport: the way to the destination.
    ///   - pools: for reading, hashing and compressing.
    init(
        job: SourceJob, group: SwitchGroup = SwitchGroup(count: 1), member: Int = 0, transport: PeerTransport,
        pools: WorkPools, logger: Logger
    ) {
        self.job = job
        self.group = group
        self.member = member
        self.logger = logger
        self.transport = transport
        self.pools = pools
        state = NIOLockedValueBox(
            State(
                machine: SourceMachine(switchover: job.switchover, maximumRounds: job.maximumRounds)))
    }

    /// Where the disk is going.
    public var destination: PeerAddress { job.destination }
    /// The limit on what is sent; may be changed.
    public var rate: RateLimit { job.rate }

    /// How far it is.
    public var progress: MigrationProgress {
        let wire = noteCrossed()
        let left = supply?.left
        let isNearing = state.withLockedValue { $0.machine.bringsNearer }
        let recent = recently.withLockedValue { $0.perSecond }
        return status.withLockedValue { status in
            if let wire { status.wire = wire }
            status.linkRate = recent * 8
            switch status.phase {
            // A rest will be left, and how much is not foreseen.
            case "copying": if !isNearing { status.secondsLeft = nil }
            case "post-copy":
                status.dirty = left?.bytes ?? status.dirty
                status.secondsLeft = left?.seconds
            default: status.secondsLeft = nil
            }
            return status
        }
    }

    @discardableResult
    private func noteCrossed() -> UInt64? {
        let crossed = state.withLockedValue { $0 }.crossed
        if let crossed { recently.withLockedValue { $0.note(crossed, at: .now) } }
        return crossed
    }

    /// Gives the migration up, with those of the disks that were to go at the same moment; the exports go on here as if
    /// nothing had been.
    /// - Returns: false where they have been handed over already. True may still come too late while that is being noted:
    ///   `hasCommitted` says so afterwards.
    public func cancel() -> Bool { group.cancel() }

    /// Hands the disk over now, or as soon as it can be, and those with it that go at the same moment.
    /// - Returns: false where that has been done, or the migration is over.
    public func switchOver() -> Bool { group.requestSwitch() }

    /// Whether the disks have been handed over: it can't be given up any more.
    public var hasCommitted: Bool { group.isCommitted }

    /// Whether the operator has given it up.
    public var isCancelled: Bool { group.isCancelled }

    /// Whether both go at the same moment.
    public func isTogether(with other: SourceMigration) -> Bool { group === other.group }

    /// Whether there is a connection to the destination now.
    public var isConnected: Bool { state.withLockedValue { $0.link != nil } }

    /// Whether the destination has taken the offer.
    var wasAccepted: Bool { state.withLockedValue { $0.wasAccepted } }

    /// A further attempt has to wait.
    func noteReconnecting() { status.withLockedValue { $0.phase = "reconnecting" } }

    /// Whether somebody waits for the disk at the destination.
    private var isWanted: Bool {
        state.withLockedValue { state in
            if group.isSwitchRequested { _ = state.machine.requestSwitch() }
            return state.machine.skipsCopying
        }
    }

    /// Does it all. On return the disk is the destination's, and this node's clients are forwarded there.
    /// - Parameters:
    ///   - supplying: given the link over which the destination gets what it lacks, at the same moment, where it lacks
    ///     anything.
    ///   - forwarding: given the link that forwards the clients, as soon as there is no way back.
    /// - Throws: what went wrong; unless `forwarding` was called, the disk is served here as before.
    public func run(
        supplying: @escaping @Sendable (PostCopySourceLink) -> Void = { _ in },
        forwarding: @escaping @Sendable (ForwardLink) -> Void
    ) async throws -> MigrationReport {
        let started = ContinuousClock.now
        let links = Links(
            forward: ForwardLink(
                destination: job.destination, export: job.export, migration: id, transport: transport, logger: logger,
                records: job.records, losses: ([job.disk] + job.siblings).map(\.losses),
                // Otherwise the guest may go there, and write beside this node.
                mayRepeat: job.switchover == .converged),
            supplying: supplying, forwarding: forwarding)
        let handedOver: HandedOver
        do {
            handedOver = try await PeerConnection.connect(to: job.destination, on: transport) { [self] connection in
                try await migrate(connection, links)
            }
        } catch {
            throw await giveUp(error, links)
        }
        if let supply, handedOver.leavesRest {
            status.withLockedValue { $0.phase = "post-copy" }
            await supply.waitUntilReleased()
            guard supply.isReleased else { throw MigrationError.stoppingPostcopy }
            state.withLockedValue { $0.machine.released() }
        } else {
            supply?.stop()
            await supply?.waitUntilEnded()
        }
        settle()
        return report(handedOver, links, started)
    }

    /// The link beside the connection of the migration itself, and who is told of the links that outlive that.
    private struct Links: Sendable {
        let forward: ForwardLink
        let supplying: @Sendable (PostCopySourceLink) -> Void
        let forwarding: @Sendable (ForwardLink) -> Void
    }

    private var supply: PostCopySourceLink? { state.withLockedValue { $0.supply } }

    /// What is known once the destination has the disk.
    private struct HandedOver: Sendable {
        var root: DiskRoot
        var leavesRest: Bool
        var wire: WireBytes
        /// From when to when the guest was held back.
        var fenced: ContinuousClock.Instant
        var end: ContinuousClock.Instant
    }

    private func migrate(_ connection: PeerConnection, _ links: Links) async throws -> HandedOver {
        let link = SourceLink(connection: connection, rate: job.rate)
        try group.connect(member, over: link)
        state.withLockedValue { $0.link = link }
        let mayAsk = job.switchover == .firstWrite
        // A hand-over can't be undone: where it is the operator's to order, a destination's request is none.
        var inbox = SourceInbox(connection: connection, link: link) { [group] in
            if mayAsk { _ = group.requestSwitch() }
        }
        let result: Result<HandedOver, any Error>
        do {
            result = .success(try await migrate(link, &inbox, links))
        } catch {
            // The connection stays until the destination has heard that there is nothing to wait for.
            let hasHeard = await group.finishFarewell(of: member)
            // One that has refused the offer has nothing to drop.
            var isRefused = false
            if case MigrationError.refused = error { isRefused = !wasAccepted }
            if hasHeard || isRefused { job.records.gaveUp(id) }
            result = .failure(await inbox.explain(error))
        }
        await inbox.stop()
        return try result.get()
    }

    private func migrate(_ link: SourceLink, _ inbox: inout SourceInbox, _ links: Links) async throws -> HandedOver {
        try job.image.checkIsDurable()
        let (opened, roundTrip) = try await open(link, &inbox)
        let geometry = opened.geometry
        let copy = try SourceCopy(
            job: job, opened: opened, link: link, disks: group.count, pools: pools, isWanted: { [self] in isWanted }
        ) { [self] update in
            status.withLockedValue { update(&$0) }
            noteCrossed()
        }
        await job.track(copy.dirtyMap)
        state.withLockedValue { state in
            state.machine.accepted()
            state.wasAccepted = true
        }
        job.accepted()
        try await group.meetBeforeCopying(member)
        let supply = PostCopySourceLink(
            parts: PostCopySourceLink.Parts(
                destination: job.destination, export: job.export, migration: id, image: job.image, geometry: geometry,
                reads: job.disk.reads, rate: job.rate, records: job.records, transport: transport, pools: pools,
                logger: logger))
        state.withLockedValue { $0.supply = supply }
        if job.switchover != .converged {
            supply.start()
            links.forward.start()
        }
        if job.switchover.isAnsweredEarly { try await link.send(.postcopy(.expect(job.switchover))) }
        let rest = try await copyUntilDecided(copy, link, &inbox, links.forward, roundTrip)
        return try await handOver(copy, link, &inbox, links, geometry, leaving: rest)
    }

    /// Agrees on the block size and offers the disk.
    private func open(
        _ link: SourceLink, _ inbox: inout SourceInbox
    ) async throws -> (OpenedMigration, roundTrip: Duration) {
        let asked = ContinuousClock.now
        let opening = SourceOpening(job: job, migration: id, purpose: .migrate, pool: pools.urgent)
        let (welcome, agreement) = try await opening.greet(link, &inbox)
        let roundTrip = asked.duration(to: .now)
        if !agreement.capabilities.contains(.postcopy) {
            guard job.switchover == .converged else {
                throw MigrationError.refused(
                    "its release can take a disk over only once all of it is there; use --switch converged, "
                        + "or run the same release on both sides")
            }
            state.withLockedValue { $0.machine.needsWholeDisk() }
        }
        let abandoned = try job.records.begin(id, to: job.destination)
        let (geometry, hasBase) = try await opening.offer(to: welcome, abandoned: abandoned, link, &inbox)
        if !abandoned.isEmpty { try job.records.accepted(id, by: job.destination) }
        let opened = OpenedMigration(
            geometry: geometry, hasBase: hasBase, takesLatePieces: agreement.capabilities.contains(.latePieces))
        return (opened, roundTrip)
    }

    /// Goes over the disk, and over what was written meanwhile, until the machine says that it is enough.
    /// - Returns: what is to be left for post-copy; nil where nothing is.
    private func copyUntilDecided(
        _ copy: SourceCopy, _ link: SourceLink, _ inbox: inout SourceInbox, _ forward: ForwardLink,
        _ roundTrip: Duration
    ) async throws -> RemainingBlocks? {
        var rest = RemainingBlocks(of: copy, image: job.image, link: link, pool: pools.urgent)
        if isWanted { return rest }
        try await copy.firstRound(&inbox)
        if isWanted { return rest }
        try await copy.endRound(1, &inbox)
        // Connected ahead of the hand-over, so that the guest need not wait for that, nor the decision grow stale.
        forward.start()
        await forward.waitUntilConnected(atMost: Self.connectLimit)
        let roundTrip = min(roundTrip, forward.roundTrip ?? roundTrip)
        while true {
            let situation = situation(copy, roundTrip)
            let decision = state.withLockedValue { $0.machine.decide(situation) }
            switch decision {
            case .handOver(let leavesRest):
                guard try await agree(copy, link, roundTrip, leavesRest: leavesRest) else { continue }
                if isWanted { return rest }
                guard leavesRest else { return nil }
                try await prepareToLeave(&rest, &inbox)
                return rest
            case .wait:
                status.withLockedValue { $0.phase = "waiting" }
                try await group.waitForSwitch(atMost: Self.idleInterval)
                guard link.isOpen else { throw PeerError.cut }
                if isWanted { return rest }
            case .copy(let scope):
                _ = group.note(member, isReady: false)
                status.withLockedValue { $0.phase = "copying" }
                let next = state.withLockedValue { $0.machine.nextRound() }
                try await copy.dirtyRound(next, scope)
                if isWanted { return rest }
                try await copy.endRound(next, &inbox)
            }
        }
    }

    /// Does as much as can be of what leaving the rest takes ahead of the fence.
    private func prepareToLeave(_ rest: inout RemainingBlocks, _ inbox: inout SourceInbox) async throws {
        // The disks that go at the same moment copy nothing any more.
        guard group.count == 1 else { return }
        status.withLockedValue { $0.phase = "copying" }
        let round = state.withLockedValue { $0.machine.round }
        try await rest.flush(copyingIn: round) { isWanted }
        try await rest.nameAhead(from: round + 1, &inbox) { isWanted }
    }

    private func situation(_ copy: SourceCopy, _ roundTrip: Duration) -> SourceMachine.Situation {
        let dirty = copy.dirtyBytes
        return SourceMachine.Situation(
            // Behind the fence, the disks share the link.
            expectedPause: copy.expectedPause(for: dirty, roundTrip: roundTrip, shares: group.count).inSeconds,
            maximumPause: (job.maximumPause ?? roundTrip * 2 + SourceJob.standardPause).inSeconds,
            leastPause: copy.expectedPause(for: 0, roundTrip: roundTrip, shares: group.count).inSeconds,
            dirty: dirty, settled: min(dirty, copy.settledBytes),
            threshold: job.dirtyThreshold)
    }

    /// Waits until all disks could go at the same moment. Until each of them could have gone once, nothing is copied: the
    /// guest may write it again before the slowest is there.
    /// - Returns: false where this disk could not go any more, because of what was written meanwhile.
    private func agree(
        _ copy: SourceCopy, _ link: SourceLink, _ roundTrip: Duration, leavesRest: Bool
    ) async throws -> Bool {
        // It could a moment ago.
        var isReady = true
        while true {
            if group.note(member, isReady: isReady) || isWanted { return true }
            if !isReady, group.isAssembled { return false }
            status.withLockedValue { $0.phase = "waiting" }
            guard link.isOpen else { throw PeerError.cut }
            try await Task.sleep(for: Self.agreementInterval)
            let situation = situation(copy, roundTrip)
            isReady = leavesRest || state.withLockedValue { $0.machine.couldGo(situation) }
        }
    }

    /// Holds the guest's requests back, sends the last blocks or says which they are, compares the roots, and gives the
    /// disk away.
    private func handOver(
        _ copy: SourceCopy, _ link: SourceLink, _ inbox: inout SourceInbox, _ links: Links,
        _ geometry: BlockGeometry, leaving rest: RemainingBlocks?
    ) async throws -> HandedOver {
        let forward = links.forward
        // Most of it ahead of the fence, behind which the guest waits.
        try await rest?.flush()
        try await group.meetBeforeFence(member)
        // From here to the fence nothing may fail: to give up now is to lift it.
        let round = state.withLockedValue { $0.machine.fence() }
        status.withLockedValue { $0.phase = "fenced" }
        let fenced = ContinuousClock.now
        await job.fence()
        let sending =
            rest != nil
            ? .zero : copy.expectedPause(for: copy.dirtyBytes, roundTrip: .zero, shares: group.count)
        let expected = max(job.maximumPause ?? .zero, sending)
        let watch = Task { [self] in
            try await Task.sleep(for: max(Self.shortestFenceLimit, expected * 2))
            group.fail(MigrationError.tooSlow)
        }
        defer { watch.cancel() }
        let (root, missing) =
            if let rest {
                try await agree(on: rest, copy, &inbox)
            } else {
                (try await sendAndCompare(copy, link, &inbox, round), BlockSet(of: geometry.blockCount))
            }
        let isMissing = !missing.isEmpty
        do { try await commit(root, isMissing ? geometry.blockSize : nil) } catch {
            // The destination has all of it, and would wait for a word that never comes.
            group.fail(error)
            throw error
        }
        watch.cancel()
        forward.commit()
        forward.start()
        links.forwarding(forward)
        if isMissing, let supply {
            supply.commit(pathCarries: await link.carries(), agreed: copy.agreed(without: missing))
            links.supplying(supply)
            supply.start()
        }
        try? await link.sendNow(.commit)
        await job.replaceDevice(ForwardingDevice(forwarder: forward))
        await job.track(nil)
        await job.unfence()
        status.withLockedValue { $0.phase = "moved" }
        // Where the word is lost right now, the forwarding link says it again, on every new connection.
        if case .active? = try? await inbox.next() { forward.confirmActive() } else { forward.reconnect() }
        await forward.waitUntilActive()
        guard forward.isActive else { throw MigrationError.stopping }
        state.withLockedValue { $0.machine.moved() }
        return HandedOver(root: root, leavesRest: isMissing, wire: link.wire, fenced: fenced, end: .now)
    }

    private func sendAndCompare(
        _ copy: SourceCopy, _ link: SourceLink, _ inbox: inout SourceInbox, _ round: Int
    ) async throws -> DiskRoot {
        try await copy.dirtyRound(round, .all, isFinal: true)
        // The destination works its root out at the end of a round, at the same time as this side.
        try await link.sendNow(.roundEnd(UInt32(round)))
        let root = try await copy.root()
        try await link.sendNow(.prepare(root))
        guard try await inbox.next() == .roundDone(UInt32(round)), case .prepared(let theirs) = try await inbox.next()
        else { throw MigrationError.unexpected("no root") }
        try state.withLockedValue { try $0.machine.prepared(source: root, destination: theirs) }
        return root
    }

    /// Both sides agree on what is missing, and that the rest is the same.
    private func agree(
        on rest: RemainingBlocks, _ copy: SourceCopy, _ inbox: inout SourceInbox
    ) async throws -> (DiskRoot, missing: BlockSet) {
        let agreement = try await rest.agree(&inbox)
        try state.withLockedValue {
            try $0.machine.prepared(source: agreement.ours, destination: agreement.theirs)
        }
        copy.note(missing: agreement.missing)
        return (agreement.ours, agreement.missing)
    }

    /// The durable word, for all disks of the group. A cancel that comes later comes too late; one that came before is
    /// heard.
    private func commit(_ root: DiskRoot, _ blockSize: Int?) async throws {
        var record = try MovedRecord(
            export: job.export, image: job.image, migration: id, destination: job.destination, root: root.description)
        record.blockSize = blockSize
        record.rate = job.rate.bitsPerSecond
        // The image may have lost what the guest was told is durable, and both roots may be of what is left.
        try job.image.checkIsDurable()
        let records = job.records
        if group.count == 1 {
            try await group.commit(member, records.word(record), report: report)
        } else {
            record.group = group.id
            // Without the word it counts for nothing, whether it is there or not.
            try await BlockingWork.run { [record] in try records.commit(record) }
            try await group.commit(member, records.word(for: group.id), report: report)
        }
        state.withLockedValue { $0.machine.committed() }
        do { try records.forgetAttempts() } catch {
            logger.warning("the notes of how \(job.export) has moved stay until this node is started again: \(error)")
        }
    }

    private func report(_ isBad: Bool, _ text: String) {
        logger.log(level: isBad ? .error : .notice, "\(job.export) to \(destination): \(text)")
    }

    /// Why it is not known whether the disk has moved, and what is to be done; nil where it is known.
    public var problem: String? {
        guard let doubt = group.doubt else { return nil }
        let unknown = "whether the disk has moved to \(destination) is not known"
        switch (doubt.cause, doubt.isGivenUp) {
        // It takes no longer than a flush.
        case (nil, false): return nil
        case (nil, true):
            return "\(unknown) until its record, which is being written, is durable or not; where that takes long, "
                + "look at the storage of the state directory"
        case (let cause?, false):
            return "\(unknown), and its clients wait: \(cause); make the state directory writable again, or give the "
                + "migration up with: nearblock cancel \(job.export)"
        case (let cause?, true):
            return "the migration has been given up, but \(unknown) until its record has been removed, and its clients "
                + "wait: \(cause); make the state directory writable again"
        }
    }

    /// Makes the record of the disk stand by itself; where that fails it counts by the common word, as before.
    private func settle() {
        guard group.count > 1, (try? job.records.settle()) != nil else { return }
        if group.settle() { job.records.forget(group: group.id) }
    }

    /// Undoes what has been done so far.
    /// - Returns: why it was given up.
    private func giveUp(
        _ error: any Error, _ links: Links
    ) async -> any Error {
        let forward = links.forward
        group.disconnect(member)
        let isInDoubt = group.isInDoubt
        let undo = state.withLockedValue { state in
            state.link = nil
            return state.machine.abandon()
        }
        if undo != nil {
            supply?.stop()
            group.fail(error)
            if group.count > 1, !isInDoubt { job.records.withdraw(group: group.id) }
        }
        switch undo {
        case .nothing?:
            forward.stop()
        case .stopTracking?:
            forward.stop()
            await job.track(nil)
        case .stopTrackingAndUnfence?:
            forward.stop()
            await job.track(nil)
            // The node ends, and nobody may be served from a disk that may be another node's.
            if isInDoubt { await job.replaceDevice(ClosedDevice()) }
            await job.unfence()
        case nil:
            // The disk is the destination's: the clients stay forwarded, and the destination is told until it hears.
            break
        }
        if undo != nil {
            await forward.waitUntilEnded()
            await supply?.waitUntilEnded()
        }
        return group.failure ?? error
    }

    private func report(
        _ handedOver: HandedOver, _ links: Links, _ started: ContinuousClock.Instant
    ) -> MigrationReport {
        let progress = status.withLockedValue { $0 }
        var wire = handedOver.wire
        let forwarded = links.forward.traffic
        wire.control += forwarded
        wire.total += forwarded
        if let supplied = supply?.wire { wire.add(supplied) }
        var ledger = progress.ledger
        if let rest = supply?.ledger { ledger.add(rest) }
        let end = ContinuousClock.now
        return MigrationReport(
            export: job.export, state: "complete", size: job.disk.size, root: handedOver.root.description,
            rounds: progress.round,
            ledger: ledger,
            resent: ledger.total - min(ledger.total, job.disk.size), wire: wire,
            seconds: .init(
                total: started.duration(to: end).inSeconds,
                precopy: started.duration(to: handedOver.fenced).inSeconds,
                pause: handedOver.fenced.duration(to: handedOver.end).inSeconds,
                postcopy: handedOver.leavesRest ? handedOver.end.duration(to: end).inSeconds : 0))
    }
}
