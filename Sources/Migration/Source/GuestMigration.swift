import Logging
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer

/// Moves the disks of one guest to one destination: all of them are handed over at one moment, or none is.
public final class GuestMigration: Sendable {
    private static let mostSlowAttempts = 3

    /// A migration for each disk, in the order of the jobs.
    public let disks: [SourceMigration]
    private let jobs: [SourceJob]
    private let group: SwitchGroup
    private let isResumed: Bool
    /// Attempts so far that ended because the destination did not answer behind the fence.
    private let slowAttempts: Int
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
            jobs: jobs, transport: transport, pools: pools, logger: logger, isResumed: isResumed, slowAttempts: 0)
    }

    private init(
        jobs: [SourceJob], transport: PeerTransport, pools: WorkPools, logger: Logger, isResumed: Bool,
        slowAttempts: Int
    ) {
        precondition(!jobs.isEmpty)
        let group = SwitchGroup(count: jobs.count)
        disks = jobs.enumerated().map { member, job in
            SourceMigration(job: job, group: group, member: member, transport: transport, pools: pools, logger: logger)
        }
        self.jobs = jobs
        self.group = group
        self.isResumed = isResumed
        self.slowAttempts = slowAttempts
        self.transport = transport
        self.pools = pools
        self.logger = logger
    }

    /// Names it in the records of its disks.
    var groupID: MigrationID { group.id }

    /// Does it all. On return the disks are the destination's, and this node's clients are forwarded there.
    /// - Parameters:
    ///   - supplying: given the number of a disk, and the link over which the destination gets what it lacks of it, at the
    ///     moment of the hand-over, where it lacks anything.
    ///   - forwarding: given the number of a disk, and the link that forwards its clients, as soon as there is no way back.
    ///   - finished: given the number of a disk that is at the destination whole.
    /// - Throws: what went wrong first; unless `forwarding` was called, the disks are served here as before.
    public func run(
        supplying: @escaping @Sendable (Int, PostCopySourceLink) -> Void,
        forwarding: @escaping @Sendable (Int, ForwardLink) -> Void,
        finished: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws -> [MigrationReport] {
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

    /// Whether it was only the link, or the destination's being away, that ended a migration that had been let in.
    static func isWorthAnotherAttempt(_ error: any Error) -> Bool {
        switch error {
        case PeerError.malformed, PeerError.nbdServer: false
        case MigrationError.tooSlow: true
        default: error is PeerError || error is ChannelError || error is IOError
        }
    }

    /// A further attempt, where this one ended only because the link did: what has got there is still there.
    public func again() -> GuestMigration? {
        guard isResumed || disks.contains(where: \.wasAccepted), let failure = group.failure, !group.isCancelled else {
            return nil
        }
        var slowAttempts = slowAttempts
        guard Self.isWorthAnotherAttempt(failure) else { return nil }
        if case MigrationError.tooSlow = failure {
            guard slowAttempts < Self.mostSlowAttempts else { return nil }
            slowAttempts += 1
        }
        let next = GuestMigration(
            jobs: jobs, transport: transport, pools: pools, logger: logger, isResumed: true, slowAttempts: slowAttempts)
        if group.isSwitchRequested { _ = next.group.requestSwitch() }
        for disk in next.disks { disk.noteReconnecting() }
        return next
    }
}
