import Block
import NIOCore
import NIOPosix
import Peer
import Synchronization

/// Moves one disk away: performs what `SourceMachine` orders, over one connection to the destination.
public final class SourceMigration: Sendable {
    private struct State {
        var machine = SourceMachine()
        var isCancelled = false
        var isTooSlow = false
        var link: SourceLink?
    }

    /// How long a guest is kept waiting for a destination that does not answer before the migration is given up.
    private static let fenceLimit = Duration.seconds(10)
    /// How long the hand-over is put off for the forwarding link.
    private static let connectLimit = Duration.seconds(2)

    private let job: SourceJob
    private let id = MigrationID()
    private let group: any EventLoopGroup
    private let pool: NIOThreadPool
    private let state = Mutex(State())
    private let status = Mutex(MigrationProgress())

    /// A migration that has not begun.
    /// - Parameters:
    ///   - group: for the link.
    ///   - pool: for reading, hashing and compressing.
    public init(job: SourceJob, group: any EventLoopGroup, pool: NIOThreadPool) {
        self.job = job
        self.group = group
        self.pool = pool
    }

    /// Where the disk is going.
    public var destination: PeerAddress { job.destination }
    /// The limit on what is sent; may be changed.
    public var rate: RateLimit { job.rate }

    /// How far it is.
    public var progress: MigrationProgress {
        let wire = state.withLock { $0.link }?.wire.total
        return status.withLock { status in
            if let wire { status.wire = wire }
            return status
        }
    }

    /// Gives the migration up; the export goes on here as if nothing had been.
    /// - Returns: false where the disk has been handed over already.
    public func cancel() -> Bool {
        let (canCancel, link) = state.withLock { state -> (Bool, SourceLink?) in
            switch state.machine.state {
            case .committed, .moved: return (false, nil)
            case .offered, .copying, .fenced, .abandoned:
                state.isCancelled = true
                return (true, state.link)
            }
        }
        if let link {
            Task {
                try? await link.sendNow(.cancel(reason: "cancelled at the source"))
                link.close()
            }
        }
        return canCancel
    }

    /// Does it all. On return the disk is the destination's, and this node's clients are forwarded there by the link
    /// that `forwarding` was given.
    /// - Throws: what went wrong; the disk is then served here as before.
    public func run(forwarding: @escaping @Sendable (ForwardLink) -> Void) async throws -> MigrationReport {
        let started = ContinuousClock.now
        let forward = ForwardLink(
            destination: job.destination, export: job.export, migration: id, group: group)
        do {
            let report = try await PeerConnection.connect(to: job.destination, on: group) { [self] connection in
                try await migrate(connection, forward, started)
            }
            forwarding(forward)
            return report
        } catch {
            throw await giveUp(error, forward, forwarding)
        }
    }

    private func migrate(
        _ connection: PeerConnection, _ forward: ForwardLink, _ started: ContinuousClock.Instant
    ) async throws -> MigrationReport {
        let link = SourceLink(connection: connection, rate: job.rate)
        try state.withLock { state in
            if state.isCancelled { throw MigrationError.cancelled }
            state.link = link
        }
        var inbox = SourceInbox(connection: connection, link: link)
        let (geometry, roundTrip) = try await open(link, &inbox)
        let copy = try SourceCopy(job: job, geometry: geometry, link: link, pool: pool) { [self] update in
            status.withLock { update(&$0) }
        }
        await job.disk.track(copy.dirtyMap)
        state.withLock { $0.machine.accepted() }
        try await copyUntilConverged(copy, link, &inbox, roundTrip)
        forward.start()
        await forward.waitUntilConnected(atMost: Self.connectLimit)
        let precopyEnd = ContinuousClock.now
        let root = try await handOver(copy, link, &inbox, forward)
        let end = ContinuousClock.now
        return report(copy, link, forward, root, (started, precopyEnd, end))
    }

    /// Agrees on the block size and offers the disk.
    private func open(_ link: SourceLink, _ inbox: inout SourceInbox) async throws -> (BlockGeometry, Duration) {
        let asked = ContinuousClock.now
        try await link.send(.hello(Hello(purpose: .migrate, migration: id)))
        guard case .welcome(let welcome) = try await inbox.next() else { throw MigrationError.unexpected("no welcome") }
        let roundTrip = asked.duration(to: .now)
        guard let geometry = BlockGeometry(size: job.disk.size, blockSize: Int(welcome.blockSize)) else {
            throw MigrationError.unexpected("a block size of \(welcome.blockSize)")
        }
        let abandoned = try job.records.abandonedAttempt()
        try job.records.begin(id)
        let offer = Offer(
            migration: id, abandoned: abandoned, export: job.export, size: geometry.size,
            blockSize: welcome.blockSize)
        try await link.send(.offer(offer))
        guard case .accepted = try await inbox.next() else { throw MigrationError.unexpected("no answer to the offer") }
        return (geometry, roundTrip)
    }

    /// Goes over the disk, and over what was written meanwhile, until what is left fits into the pause.
    private func copyUntilConverged(
        _ copy: SourceCopy, _ link: SourceLink, _ inbox: inout SourceInbox, _ roundTrip: Duration
    ) async throws {
        try await copy.firstRound(&inbox)
        while true {
            let round = state.withLock { $0.machine.round }
            try await copy.endRound(round, &inbox)
            let dirty = copy.dirtyBytes
            if dirty == 0 || copy.expectedPause(roundTrip: roundTrip) <= job.maximumPause { return }
            let next = state.withLock { $0.machine.nextRound() }
            try await copy.dirtyRound(next)
        }
    }

    /// Holds the guest's requests back, sends the last blocks, compares the roots, and gives the disk away.
    private func handOver(
        _ copy: SourceCopy, _ link: SourceLink, _ inbox: inout SourceInbox, _ forward: ForwardLink
    ) async throws -> DiskRoot {
        let round = try state.withLock { state in
            if state.isCancelled { throw MigrationError.cancelled }
            return state.machine.fence()
        }
        status.withLock { $0.phase = "fenced" }
        await job.disk.fence()
        let watch = Task { [self] in
            try await Task.sleep(for: Self.fenceLimit)
            state.withLock { $0.isTooSlow = true }
            link.close()
        }
        defer { watch.cancel() }
        try await copy.dirtyRound(round)
        let root = try await copy.root()
        try await link.send(.prepare(root))
        guard case .prepared(let theirs) = try await inbox.next() else {
            throw MigrationError.unexpected("no root")
        }
        try state.withLock { try $0.machine.prepared(source: root, destination: theirs) }
        try commit(root)
        watch.cancel()
        try? await link.sendNow(.commit)
        forward.commit()
        await job.disk.replaceDevice(ForwardingDevice(forwarder: forward))
        await job.disk.track(nil)
        await job.disk.unfence()
        status.withLock { $0.phase = "moved" }
        // Where the link breaks right now, the forwarding link carries the word over, as often as it takes.
        if case .active? = try? await inbox.next() { forward.confirmActive() }
        await forward.waitUntilActive()
        state.withLock { $0.machine.moved() }
        return root
    }

    /// The durable word. A cancel that comes later comes too late; one that came before is heard.
    private func commit(_ root: DiskRoot) throws {
        try state.withLock { state in
            if state.isCancelled { throw MigrationError.cancelled }
            try job.records.commit(export: job.export, migration: id, destination: job.destination, root: root)
            state.machine.committed()
        }
    }

    /// Undoes what has been done so far.
    /// - Returns: why it was given up.
    private func giveUp(
        _ error: any Error, _ forward: ForwardLink, _ forwarding: @Sendable (ForwardLink) -> Void
    ) async -> any Error {
        let (undo, reason) = state.withLock { state in
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
            forwarding(forward)
        }
        return reason ?? error
    }

    private func report(
        _ copy: SourceCopy, _ link: SourceLink, _ forward: ForwardLink, _ root: DiskRoot,
        _ times: (start: ContinuousClock.Instant, precopyEnd: ContinuousClock.Instant, end: ContinuousClock.Instant)
    ) -> MigrationReport {
        let progress = status.withLock { $0 }
        let forwarded = forward.traffic
        var wire = link.wire
        wire.control += forwarded
        wire.total += forwarded
        return MigrationReport(
            export: job.export, state: "complete", size: job.disk.size, root: root.description, rounds: progress.round,
            ledger: progress.ledger, resent: progress.ledger.total - min(progress.ledger.total, job.disk.size), wire: wire,
            seconds: .init(
                total: times.start.duration(to: times.end).inSeconds,
                precopy: times.start.duration(to: times.precopyEnd).inSeconds,
                pause: times.precopyEnd.duration(to: times.end).inSeconds, postcopy: 0))
    }
}
