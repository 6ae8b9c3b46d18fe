import Logging
import MigrationCore
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Peer
import PeerModel

/// Carries the memory of one guest to another node: listens on a Unix socket for the guest's hypervisor, and carries each
/// of its connections.
public final class MemoryRelay: Sendable {
    /// The guest, and how its memory goes.
    public struct Job: Sendable {
        /// The guest's name: its hypervisor at the destination waits on that socket of the node's folder.
        public let name: String
        /// The node that is to have it.
        public let destination: PeerAddress
        /// Limits what is sent, together with the disks.
        public let rate: RateLimit
        /// Whether the memory may go before all disks have been copied once.
        public let isAtOnce: Bool
        /// A folder for scratch files.
        public let scratch: String

        /// Describes the memory of a guest.
        public init(name: String, destination: PeerAddress, rate: RateLimit, isAtOnce: Bool, scratch: String) {
            self.name = name
            self.destination = destination
            self.rate = rate
            self.isAtOnce = isAtOnce
            self.scratch = scratch
        }
    }

    /// The disks of the guest.
    public enum Disks: Sendable {
        /// They move: their migrations now; called from any thread.
        case moving(@Sendable () -> [SourceMigration])
        /// They are at both nodes.
        case standing([StandingDisk])
    }

    private struct State {
        var streams: [MemorySourceStream] = []
        var running = 0
        var ended = 0
        /// A hypervisor has connected.
        var hasBegun = false
        /// Nobody listens any more.
        var isOver = false
        var problem: String?
        var waiters: [CheckedContinuation<Void, Never>] = []

        /// Records that a connection has ended.
        mutating func end() -> [CheckedContinuation<Void, Never>] {
            running -= 1
            guard running == 0 else { return [] }
            defer { waiters = [] }
            return waiters
        }
    }

    /// Connections of one hypervisor at once: QEMU's multifd has at most 255 channels.
    private static let mostStreams = 260
    /// The interval at which the disks' first copies are waited for.
    private static let interval = Duration.milliseconds(20)

    private let job: Job
    private let disks: Disks
    private let transport: PeerTransport
    private let pools: WorkPools
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    /// A relay that does not listen yet.
    public init(job: Job, disks: Disks, transport: PeerTransport, pools: WorkPools, logger: Logger) {
        self.job = job
        self.disks = disks
        self.transport = transport
        self.pools = pools
        self.logger = logger
    }

    /// Whether a connection of the hypervisor is being carried.
    public var isRelaying: Bool { state.withLockedValue { $0.running > 0 } }

    /// The progress of all connections.
    public var status: MemoryStatus {
        state.withLockedValue { state in
            var status = MemoryStatus(name: job.name)
            for stream in state.streams {
                let progress = stream.progress
                status.add(progress.tally, wire: progress.wire)
                status.problem = status.problem ?? progress.problem
            }
            if let problem = state.problem {
                (status.state, status.problem) = ("failed", problem)
            } else if state.running > 0 {
                status.state = "relaying"
            } else if state.ended > 0 {
                status.state = "ended"
            }
            return status
        }
    }

    /// Listens on a bound socket until the task is cancelled, and carries what connects.
    public func run(on descriptor: CInt) async throws {
        let scan = scanStanding()
        defer {
            scan.cancel()
            end { state in
                state.isOver = true
                state.running += 1
            }
        }
        let server = try await ServerBootstrap(group: transport.group)
            .acceptingBareChannels()
            .bind(descriptor) { $0.eventLoop.makeSucceededFuture($0) }
        try await server.executeThenClose { hypervisors in
            try await withThrowingDiscardingTaskGroup { group in
                for try await hypervisor in hypervisors {
                    guard begin() else {
                        hypervisor.close(promise: nil)
                        continue
                    }
                    group.addTask { [self] in await carry(hypervisor, scan) }
                }
            }
        }
    }

    private func begin() -> Bool {
        state.withLockedValue { state in
            guard state.running < Self.mostStreams else { return false }
            // A hypervisor that tries again begins anew.
            if state.running == 0 { state = State(waiters: state.waiters) }
            state.running += 1
            state.hasBegun = true
            return true
        }
    }

    private func carry(_ hypervisor: any Channel, _ scan: Task<[AgreedDisk], any Error>) async {
        do {
            // A channel that was just accepted is not active yet.
            let isClosed = NIOLockedValueBox(false)
            hypervisor.closeFuture.whenComplete { _ in isClosed.withLockedValue { $0 = true } }
            let finder = try await finder(scan) { !isClosed.withLockedValue { $0 } }
            let stream = MemorySourceStream(
                MemorySourceStream.Context(
                    name: job.name, destination: job.destination, finder: finder, transport: transport, pools: pools,
                    rate: job.rate, logger: logger, parser: { QEMUStreamParser() }))
            state.withLockedValue { $0.streams.append(stream) }
            try await stream.run(try await hypervisor.takeUp(HypervisorChannel.wrap))
            end { $0.ended += 1 }
            logger.info("the memory of \(job.name) is at \(job.destination)")
        } catch {
            hypervisor.close(promise: nil)
            end { $0.problem = $0.problem ?? "\(error)" }
            logger.warning("the memory of \(job.name) did not get to \(job.destination): \(error)")
        }
    }

    private func end(_ change: (inout State) -> Void) {
        let waiters = state.withLockedValue { state in
            change(&state)
            return state.end()
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Whether the disks' migrations are still to begin.
    private func isStarting(_ agreed: [AgreedDisk?]) -> Bool {
        if case .moving = disks { agreed.isEmpty } else { false }
    }

    /// Begins to read the disks that are at both nodes.
    private func scanStanding() -> Task<[AgreedDisk], any Error> {
        Task { [self] in
            guard case .standing(let disks) = disks else { return [] }
            var scanned: [AgreedDisk] = []
            for disk in disks { scanned.append(try await disk.scan(in: job.scratch, on: pools.background)) }
            return scanned
        }
    }

    /// Waits until the hypervisor has connected, and no connection is carried any more; or until `run` has ended.
    public func waitUntilCarried() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLockedValue { state in
                let isOver = state.isOver || (state.running == 0 && state.hasBegun)
                if !isOver { state.waiters.append(continuation) }
                return isOver
            }
            if isOver { continuation.resume() }
        }
    }

    /// Waits until no connection is carried.
    public func waitUntilIdle() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLockedValue { state in
                if state.running > 0 { state.waiters.append(continuation) }
                return state.running == 0
            }
            if isIdle { continuation.resume() }
        }
    }

    /// Waits until the disks can be referred to, or, if the memory may go at once, until they have been offered.
    private func finder(
        _ scan: Task<[AgreedDisk], any Error>, while isWanted: @escaping @Sendable () -> Bool
    ) async throws -> PageFinder {
        while true {
            let agreed: [AgreedDisk?] =
                switch disks {
                case .moving(let migrations): migrations().map(\.agreed)
                case .standing: try await scan.value
                }
            let known = agreed.compactMap(\.self)
            if known.count == agreed.count, !isStarting(agreed) {
                let finder = PageFinder(disks: known)
                if job.isAtOnce { return finder }
                if known.allSatisfy(\.isConfirmed) {
                    try await finder.build(in: job.scratch, on: pools.urgent, while: isWanted)
                    return finder
                }
            }
            try await Task.sleep(for: Self.interval)
            guard isWanted() else { throw PeerError.cut }
        }
    }
}
