import Logging
import MigrationCore
import MigrationProtocol
import NIOPosix
import Peer

/// Moves the disks of one guest to one destination: all of them are switched over at one moment, or none is.
public final class GuestMigration: Sendable {
    /// A migration for each disk, in the order of the jobs.
    public let disks: [SourceMigration]
    private let jobs: [SourceJob]
    private let group: SwitchGroup
    private let transport: PeerTransport
    private let pools: WorkPools
    private let logger: Logger

    /// A migration that has not begun.
    /// - Parameters:
    ///   - jobs: at least one, all with the same destination.
    ///   - transport: the way to the destination.
    ///   - pools: for reading, hashing and compressing.
    ///   - isResumed: it has been under way before, so that a destination that does not answer is waited for.
    public convenience init(
        jobs: [SourceJob], transport: PeerTransport, pools: WorkPools, logger: Logger, isResumed: Bool = false
    ) {
        self.init(
            jobs: jobs, group: SwitchGroup(count: jobs.count, series: AttemptSeries(isResumed: isResumed)),
            transport: transport, pools: pools, logger: logger)
    }

    private init(
        jobs: [SourceJob], group: SwitchGroup, transport: PeerTransport, pools: WorkPools, logger: Logger
    ) {
        precondition(!jobs.isEmpty)
        disks = jobs.enumerated().map { member, job in
            SourceMigration(job: job, group: group, member: member, transport: transport, pools: pools, logger: logger)
        }
        self.jobs = jobs
        self.group = group
        self.transport = transport
        self.pools = pools
        self.logger = logger
    }

    /// Names the group in the records of its disks.
    var groupID: MigrationID { group.id }

    /// Moves the disks. On return they are the destination's, and this node's clients are forwarded there.
    /// - Parameters:
    ///   - supplying: called on any thread at the switchover, with the number of a disk that is not whole there and the
    ///     link that supplies it.
    ///   - forwarding: called on any thread once there is no way back, with the number of a disk and the link that
    ///     forwards its clients.
    ///   - finished: called with the number of a disk that is at the destination whole; on any thread.
    /// - Throws: what went wrong first; unless `forwarding` was called, the disks are served here as before.
    public func run(
        supplying: @escaping @Sendable (Int, PostCopySourceLink) -> Void,
        forwarding: @escaping @Sendable (Int, ForwardLink) -> Void,
        finished: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws -> [MigrationReport] {
        // Given up before it began: a destination that does not answer need not be waited for.
        if let failure = group.failure { throw failure }
        let results = await withTaskGroup(of: (Int, Result<MigrationReport, any Error>).self) { tasks in
            for (member, disk) in disks.enumerated() {
                tasks.addTask {
                    do {
                        let report = try await disk.run(supplying: { supplying(member, $0) }) { forwarding(member, $0) }
                        finished(member)
                        return (member, .success(report))
                    } catch {
                        return (member, .failure(error))
                    }
                }
            }
            return await tasks.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        if let failure = group.failure { throw failure }
        return try disks.indices.map { try results[$0]!.get() }
    }

    /// Waits for the time of a further attempt, before `run`. Returns early if the disks are given up, or the task is
    /// cancelled.
    public func pause(atMost limit: Duration) async { await group.waitForFailure(atMost: limit) }

    /// A further attempt, if this one has failed only for a passing reason: the destination keeps what it has got;
    /// otherwise nil. Call it once, after `run`: from then on this attempt refuses operators' requests, and those that it has
    /// heard before count for the further one.
    public func again() -> GuestMigration? {
        guard let next = group.next(wasAccepted: disks.contains(where: \.wasAccepted)) else { return nil }
        let migration = GuestMigration(
            jobs: jobs, group: next, transport: transport, pools: pools, logger: logger)
        for disk in migration.disks { disk.awaitReconnection() }
        return migration
    }
}
