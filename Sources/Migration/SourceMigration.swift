import Block
import Logging
import NIOCore
import NIOPosix
import Peer
import NIOConcurrencyHelpers

/// Moves one disk away: performs what `SourceMachine` orders, over one connection to the destination.
public final class SourceMigration: Sendable {
    private struct State {
        var machine = SourceMachine()
        var isCancelled = false
        var isTooSlow = false
        var link: SourceLink?
    }

    /// How long a guest is kept waiting for a destination that does not answer before the migration is given up; longer
    /// where a longer pause is allowed.
    private static let shortestFenceLimit = Duration.seconds(10)
    /// How long the hand-over is put off for the forwarding link.
    private static let connectLimit = Duration.seconds(2)

    private let job: SourceJob
    private let id = MigrationID()
    private let transport: PeerTransport
    private let logger: Logger
    private let pool: NIOThreadPool
    private let state = NIOLockedValueBox(State())
    private let status = NIOLockedValueBox(MigrationProgress())

    /// A migration that has not begun.
    /// - Parameters:
    ///   - transport: the way to the destination.
    ///   - pool: for reading, hashing and compressing.
    public init(job: SourceJob, transport: PeerTransport, pool: NIOThreadPool, logger: Logger) {
        self.job = job
        self.logger = logger
        self.transport = transport
        self.pool = pool
    }

    /// Where the disk is going.
    public var destination: PeerAddress { job.destination }
    /// The limit on what is sent; may be changed.
    public var rate: RateLimit { job.rate }

    /// How far it is.
    public var progress: MigrationProgress {
        let wire = state.withLockedValue { $0.link }?.wire.total
        return status.withLockedValue { status in
            if let wire { status.wire = wire }
            return status
        }
    }

    /// Gives the migration up; the export goes on here as if nothing had been.
    /// - Returns: false where the disk has been handed over already.
    public func cancel() -> Bool {
        let (canCancel, link) = state.withLockedValue { state -> (Bool, SourceLink?) in
            switch state.machine.state {
            case .committed, .moved: return (false, nil)
            case .offered, .copying, .fenced, .abandoned:
                state.isCancelled = true
                return (true, state.link)
            }
        }
        if let link { Task { await link.close(saying: .cancel(reason: "cancelled at the source")) } }
        return canCancel
    }

    /// Does it all. On return the disk is the destination's, and this node's clients are forwarded there.
    /// - Parameter forwarding: given the link that forwards them, as soon as there is no way back.
    /// - Throws: what went wrong; unless `forwarding` was called, the disk is served here as before.
    public func run(forwarding: @escaping @Sendable (ForwardLink) -> Void) async throws -> MigrationReport {
        let started = ContinuousClock.now
        let forward = ForwardLink(
            destination: job.destination, export: job.export, migration: id, transport: transport, logger: logger)
        do {
            return try await PeerConnection.connect(to: job.destination, on: transport) { [self] connection in
                try await migrate(connection, forward, started, forwarding)
            }
        } catch {
            throw await giveUp(error, forward)
        }
    }

    private func migrate(
        _ connection: PeerConnection, _ forward: ForwardLink, _ started: ContinuousClock.Instant,
        _ forwarding: @Sendable (ForwardLink) -> Void
    ) async throws -> MigrationReport {
        let link = SourceLink(connection: connection, rate: job.rate)
        try state.withLockedValue { state in
            if state.isCancelled { throw MigrationError.cancelled }
            state.link = link
        }
        var inbox = SourceInbox(connection: connection, link: link)
        do {
            return try await migrate(link, &inbox, forward, started, forwarding)
        } catch {
            throw await inbox.explain(error)
        }
    }

    private func migrate(
        _ link: SourceLink, _ inbox: inout SourceInbox, _ forward: ForwardLink,
        _ started: ContinuousClock.Instant, _ forwarding: @Sendable (ForwardLink) -> Void
    ) async throws -> MigrationReport {
        let (geometry, roundTrip) = try await open(link, &inbox)
        let copy = try SourceCopy(job: job, geometry: geometry, link: link, pool: pool) { [self] update in
            status.withLockedValue { update(&$0) }
        }
        await job.disk.track(copy.dirtyMap)
        state.withLockedValue { $0.machine.accepted() }
        try await copyUntilConverged(copy, &inbox, forward, roundTrip)
        let precopyEnd = ContinuousClock.now
        let root = try await handOver(copy, link, &inbox, forward, forwarding)
        let end = ContinuousClock.now
        return report(copy, link, forward, root, (started, precopyEnd, end))
    }

    /// Agrees on the block size and offers the disk.
    private func open(_ link: SourceLink, _ inbox: inout SourceInbox) async throws -> (
        BlockGeometry, Duration
    ) {
        let asked = ContinuousClock.now
        try await link.send(.hello(Hello(purpose: .migrate, migration: id)))
        guard case .welcome(let welcome) = try await inbox.next() else {
            throw MigrationError.unexpected("no welcome")
        }
        _ = try ProtocolSupport.agreement(source: .own, destination: welcome.support)
        let roundTrip = asked.duration(to: .now)
        guard let geometry = BlockGeometry(size: job.disk.size, blockSize: Int(welcome.blockSize)) else {
            throw MigrationError.unexpected("a block size of \(welcome.blockSize)")
        }
        let abandoned = try job.records.begin(id, to: job.destination)
        let offer = Offer(
            migration: id, abandoned: abandoned, export: job.export, size: geometry.size,
            blockSize: welcome.blockSize, domains: job.domains)
        try await link.send(.offer(offer))
        guard case .accepted = try await inbox.next() else {
            throw MigrationError.unexpected("no answer to the offer")
        }
        return (geometry, roundTrip)
    }

    /// Goes over the disk, and over what was written meanwhile, until what is left fits into the pause.
    private func copyUntilConverged(
        _ copy: SourceCopy, _ inbox: inout SourceInbox, _ forward: ForwardLink, _ roundTrip: Duration
    ) async throws {
        try await copy.firstRound(&inbox)
        try await copy.endRound(1, &inbox)
        // Connected ahead of the hand-over, so that the guest need not wait for that, nor the decision grow stale.
        forward.start()
        await forward.waitUntilConnected(atMost: Self.connectLimit)
        let roundTrip = min(roundTrip, forward.roundTrip ?? roundTrip)
        while true {
            if copy.dirtyBytes == 0 || copy.expectedPause(roundTrip: roundTrip) <= job.maximumPause { return }
            let next = state.withLockedValue { $0.machine.nextRound() }
            try await copy.dirtyRound(next)
            try await copy.endRound(next, &inbox)
        }
    }

    /// Holds the guest's requests back, sends the last blocks, compares the roots, and gives the disk away.
    private func handOver(
        _ copy: SourceCopy, _ link: SourceLink, _ inbox: inout SourceInbox, _ forward: ForwardLink,
        _ forwarding: @Sendable (ForwardLink) -> Void
    ) async throws -> DiskRoot {
        let round = try state.withLockedValue { state in
            if state.isCancelled { throw MigrationError.cancelled }
            return state.machine.fence()
        }
        status.withLockedValue { $0.phase = "fenced" }
        await job.disk.fence()
        let watch = Task { [self] in
            try await Task.sleep(for: max(Self.shortestFenceLimit, job.maximumPause * 2))
            let isTooSlow = state.withLockedValue { state in
                if case .fenced = state.machine.state { state.isTooSlow = true }
                return state.isTooSlow
            }
            if isTooSlow { link.close() }
        }
        defer { watch.cancel() }
        try await copy.dirtyRound(round)
        let root = try await copy.root()
        try await link.send(.prepare(root))
        guard case .prepared(let theirs) = try await inbox.next() else {
            throw MigrationError.unexpected("no root")
        }
        try state.withLockedValue { try $0.machine.prepared(source: root, destination: theirs) }
        try commit(root)
        watch.cancel()
        forward.commit()
        forwarding(forward)
        try? await link.sendNow(.commit)
        await job.disk.replaceDevice(ForwardingDevice(forwarder: forward))
        await job.disk.track(nil)
        await job.disk.unfence()
        status.withLockedValue { $0.phase = "moved" }
        // Where the word is lost right now, the forwarding link says it again, on every new connection.
        if case .active? = try? await inbox.next() { forward.confirmActive() } else { forward.reconnect() }
        await forward.waitUntilActive()
        guard forward.isActive else { throw MigrationError.stopping }
        state.withLockedValue { $0.machine.moved() }
        return root
    }

    /// The durable word. A cancel that comes later comes too late; one that came before is heard.
    private func commit(_ root: DiskRoot) throws {
        try state.withLockedValue { state in
            if state.isCancelled { throw MigrationError.cancelled }
            if state.isTooSlow { throw MigrationError.tooSlow }
            try job.records.commit(
                export: job.export, migration: id, destination: job.destination, root: root)
            state.machine.committed()
        }
    }

    /// Undoes what has been done so far.
    /// - Returns: why it was given up.
    private func giveUp(
        _ error: any Error, _ forward: ForwardLink
    ) async -> any Error {
        let (undo, reason) = state.withLockedValue { state in
            state.link = nil
            let reason = state.isCancelled ? MigrationError.cancelled : state.isTooSlow ? .tooSlow : nil
            return (state.machine.abandon(), reason)
        }
        switch undo {
        case .nothing?:
            forward.stop()
        case .stopTracking?:
            forward.stop()
            await job.disk.track(nil)
        case .stopTrackingAndUnfence?:
            forward.stop()
            await job.disk.track(nil)
            await job.disk.unfence()
        case nil:
            // The disk is the destination's: the clients stay forwarded, and the destination is told until it hears.
            break
        }
        return reason ?? error
    }

    private func report(
        _ copy: SourceCopy, _ link: SourceLink, _ forward: ForwardLink, _ root: DiskRoot,
        _ times: (
            start: ContinuousClock.Instant, precopyEnd: ContinuousClock.Instant, end: ContinuousClock.Instant
        )
    ) -> MigrationReport {
        let progress = status.withLockedValue { $0 }
        let forwarded = forward.traffic
        var wire = link.wire
        wire.control += forwarded
        wire.total += forwarded
        return MigrationReport(
            export: job.export, state: "complete", size: job.disk.size, root: root.description,
            rounds: progress.round,
            ledger: progress.ledger,
            resent: progress.ledger.total - min(progress.ledger.total, job.disk.size), wire: wire,
            seconds: .init(
                total: times.start.duration(to: times.end).inSeconds,
                precopy: times.start.duration(to: times.precopyEnd).inSeconds,
                pause: times.precopyEnd.duration(to: times.end).inSeconds, postcopy: 0))
    }
}
