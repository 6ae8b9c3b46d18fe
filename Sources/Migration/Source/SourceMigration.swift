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

/// Moves one disk away, at the moment that its `SwitchGroup` agrees on. `SourceMachine` decides, and `SourceDriver` performs
/// that over one connection to the destination.
public final class SourceMigration: Sendable {
    struct State {
        var machine: SourceMachine
        /// The destination has taken the offer.
        var wasAccepted = false
        var link: SourceLink?
        /// The blocks that the destination has; nil until it has taken the offer.
        var agreed: AgreedDisk?
        /// The blocks that have gone; nil until the destination has taken the offer.
        var blockMap: SourceBlockMap?
        /// For what follows afterwards.
        var supply: PostCopySourceLink?

        /// Bytes that crossed so far; nil before there is a link.
        var crossed: UInt64? { link.map { $0.wire.total + (supply?.wire.total ?? 0) } }
    }

    let job: SourceJob
    let group: SwitchGroup
    /// Its number in the group.
    let member: Int
    let id = MigrationID()
    let transport: PeerTransport
    let logger: Logger
    let pools: WorkPools
    let state: NIOLockedValueBox<State>
    let status = NIOLockedValueBox(MigrationProgress())
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
                machine: SourceMachine(
                    size: job.disk.size, switchover: job.switchover, maximumRounds: job.maximumRounds,
                    disks: group.count)))
    }

    /// The node that the disk goes to.
    public var destination: PeerAddress { job.destination }
    /// The limit on what is sent; may be changed.
    public var rate: RateLimit { job.rate }

    /// The progress so far.
    public var progress: MigrationProgress {
        let wire = countCrossed()
        let left = supply?.left
        let (phase, isNearing) = state.withLockedValue { ($0.machine.phase, $0.machine.bringsNearer) }
        let recent = recently.withLockedValue { $0.perSecond }
        return status.withLockedValue { status in
            status.phase = phase.rawValue
            if let wire { status.wire = wire }
            status.linkRate = recent * 8
            switch phase {
            // A rest will be left, whose size is not foreseen.
            case .copying: if !isNearing { status.secondsLeft = nil }
            case .postCopy:
                status.dirty = left?.bytes ?? status.dirty
                status.secondsLeft = left?.seconds
            case .connecting, .waiting, .fenced, .moved, .reconnecting: status.secondsLeft = nil
            }
            var status = status
            // A block that is sent again counts again.
            status.done = min(status.done, status.total)
            status.free = allFree(status.free)
            return status
        }
    }

    /// The state of all blocks now; nil until the destination has taken the offer.
    public var blocks: BlockPicture? {
        let left = supply?.left?.blocks
        return state.withLockedValue { $0.blockMap }?.picture(left: left)
    }

    /// Changes what is known of the copying.
    func update(_ body: (inout MigrationProgress) -> Void) {
        status.withLockedValue { body(&$0) }
        countCrossed()
    }

    @discardableResult
    private func countCrossed() -> UInt64? {
        let crossed = state.withLockedValue { $0 }.crossed
        if let crossed { recently.withLockedValue { $0.note(crossed, at: .now) } }
        return crossed
    }

    /// Cancels this migration and those of its group. The exports go on here unchanged.
    /// - Returns: false if they have been switched over already. True may still come too late while the commit record
    ///   is being written: `hasCommitted` says so afterwards.
    public func cancel() -> Bool { group.cancel() }

    /// Interrupts this migration and those of its group, as a cut link does: the destination keeps what it has. It fails
    /// with `MigrationError.suspended`.
    /// - Returns: as `cancel`.
    public func suspend() -> Bool { group.suspend() }

    /// Switches the disk over now, or as soon as it can be, and those with it that go at the same moment. If the attempt has
    /// failed and another follows, that one does it.
    /// - Returns: false where that has been done, or the migration is over.
    public func switchOver() -> Bool { group.requestSwitch() }

    /// Whether the disks have been given away: it can't be given up any more.
    public var hasCommitted: Bool { group.isCommitted }

    /// Whether both go at the same moment.
    public func isTogether(with other: SourceMigration) -> Bool { group === other.group }

    /// Whether there is a connection to the destination now.
    public var isConnected: Bool { state.withLockedValue { $0.link != nil } }

    /// The blocks that the destination has; nil until it has taken the offer.
    var agreed: AgreedDisk? { state.withLockedValue { $0.agreed } }

    /// Whether the destination has taken the offer.
    var wasAccepted: Bool { state.withLockedValue { $0.wasAccepted } }

    /// This is a further attempt, and has to wait.
    func awaitReconnection() { state.withLockedValue { $0.machine.awaitReconnection() } }

    /// Tells the machine of an event, and before that whether the group's disks are wanted.
    func advance<Result>(_ event: (inout SourceMachine) throws -> Result) rethrows -> Result {
        let isRequested = group.isSwitchRequested
        return try state.withLockedValue { state in
            if isRequested { state.machine.requestSwitch() }
            return try event(&state.machine)
        }
    }

    /// Whether to switch over now, whatever is left.
    var isWanted: Bool { advance { $0.skipsCopying } }

    var supply: PostCopySourceLink? { state.withLockedValue { $0.supply } }

    // MARK: Lifetime

    /// Moves the disk. On return it is the destination's, and this node's clients are forwarded there.
    /// - Parameters:
    ///   - supplying: called at the switchover with the link that supplies what the destination lacks, if it lacks
    ///     anything; on any thread.
    ///   - forwarding: called with the link that forwards the clients, as soon as there is no way back; on any thread.
    /// - Throws: what went wrong; unless `forwarding` was called, the disk is served here as before.
    public func run(
        supplying: @escaping @Sendable (PostCopySourceLink) -> Void = { _ in },
        forwarding: @escaping @Sendable (ForwardLink) -> Void
    ) async throws -> MigrationReport {
        let started = ContinuousClock.now
        let links = SourceDriver.Links(
            forward: ForwardLink(
                destination: job.destination, export: job.export, migration: id, transport: transport, logger: logger,
                records: job.records, losses: ([job.disk] + job.siblings).map(\.losses),
                // Otherwise the guest may go there, and write beside this node.
                mayRepeat: job.switchover == .converged),
            supplying: supplying, forwarding: forwarding)
        let result: SourceDriver.SwitchedOver
        do {
            result = try await PeerConnection.connect(to: job.destination, on: transport) { [self] connection in
                try await migrate(connection, links)
            }
        } catch {
            throw await giveUp(error, links)
        }
        if let supply, result.leavesRest {
            await supply.waitUntilReleased()
            guard supply.isReleased else { throw MigrationError.stoppingPostcopy }
            _ = advance { $0.released() }
        } else {
            supply?.stop()
            await supply?.waitUntilEnded()
        }
        separateRecord()
        return report(result, links, started)
    }

    private func migrate(
        _ connection: PeerConnection, _ links: SourceDriver.Links
    ) async throws -> SourceDriver.SwitchedOver {
        let link = SourceLink(connection: connection, rate: job.rate)
        try group.connect(member, over: link)
        state.withLockedValue { $0.link = link }
        let exchange = PrefixExchange { [self] question in
            advance { $0.asked(question) }
            try await link.send(.prefixQuestion(question))
        }
        let judge = SourceReceiver.Judge(
            receive: { [self] message in try advance { try $0.receive(message) } },
            switchOver: { [group] in _ = group.requestSwitch() }, prefix: { exchange.answered($0) },
            ended: { [group] in
                exchange.close()
                group.wake()
            })
        var driver = SourceDriver(
            migration: self, link: link, links: links, exchange: exchange,
            receiver: SourceReceiver(connection: connection, link: link, judge: judge))
        let result: Result<SourceDriver.SwitchedOver, any Error>
        do {
            result = .success(try await driver.run())
        } catch {
            // The connection stays until the destination has heard that there is nothing to wait for.
            let hasHeard = await group.finishFarewell(of: member)
            // One that has refused the offer has nothing to drop.
            var isRefused = false
            switch error {
            case MigrationError.refused, MigrationError.noRoom: isRefused = !wasAccepted
            default: break
            }
            if hasHeard || isRefused { job.records.gaveUp(id) }
            result = .failure(await driver.receiver.explain(error))
        }
        await driver.receiver.stop()
        return try result.get()
    }

    /// Makes the record of the disk stand by itself; where that fails it counts by the common one, as before.
    private func separateRecord() {
        guard group.count > 1, (try? job.records.makeIndependent()) != nil else { return }
        if group.recordStands() { job.records.forget(group: group.id) }
    }

    /// Undoes what has been done so far.
    /// - Returns: the reason for giving up.
    private func giveUp(_ error: any Error, _ links: SourceDriver.Links) async -> any Error {
        let forward = links.forward
        group.disconnect(member)
        let isInDoubt = group.isInDoubt
        let undo = state.withLockedValue { state in
            state.link = nil
            return state.machine.abandon(isInDoubt: isInDoubt)
        }
        // The disk is the destination's: the clients stay forwarded, and the destination is told until it hears.
        guard let undo else { return group.failure ?? error }
        supply?.stop()
        group.fail(error)
        if group.count > 1, !isInDoubt { job.records.withdraw(group: group.id) }
        forward.stop()
        if undo != .nothing { await job.track(nil) }
        switch undo {
        case .nothing, .stopTracking: break
        case .stopTrackingAndUnfence: await job.unfence()
        case .stopTrackingAndClose:
            // The node ends, and nobody may be served from a disk that may be another node's.
            await job.replaceDevice(ClosedDevice())
            await job.unfence()
        }
        await forward.waitUntilEnded()
        await supply?.waitUntilEnded()
        return group.failure ?? error
    }
}
