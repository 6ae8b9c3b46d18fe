import Logging
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Peer
import PeerModel

/// Carries the memory of one guest to another node: each connection of the guest's hypervisor to a Unix socket.
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
        /// The number of this attempt of the hypervisor.
        var attempt = 0
        /// Finds pages for all connections of the attempt; nil until the disks are known.
        var finder: Result<PageFinder, any Error>?
        var streams: [MemorySourceStream] = []
        var running = 0
        var ended = 0
        var openings = MemoryOpenings()
        /// A hypervisor has connected.
        var hasBegun = false
        /// Nobody listens any more.
        var isOver = false
        var problem: String?
    }

    /// Connections of one hypervisor at once: the destination takes no more.
    private static let mostStreams = PeerLimits.memoriesPerPeer
    /// The interval at which the disks' first copies are waited for.
    private static let interval = Duration.milliseconds(20)

    private let job: Job
    private let disks: Disks
    private let transport: PeerTransport
    private let pools: WorkPools
    private let logger: Logger
    private let state = WatchedValue(State())

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
                (status.state, status.problem) = (.failed, problem)
            } else if state.running > 0 {
                status.state = .relaying
            } else if state.ended > 0 {
                status.state = .ended
            }
            return status
        }
    }

    /// Carries what connects to a server, until the task is cancelled.
    public func run(on server: NIOAsyncChannel<any Channel, Never>) async throws {
        let scan = scanStanding()
        defer {
            scan.cancel()
            state.withLockedValue { $0.isOver = true }
        }
        try await server.executeThenClose { hypervisors in
            try await withThrowingDiscardingTaskGroup { group in
                for try await hypervisor in hypervisors {
                    guard let begun = begin() else {
                        hypervisor.close(promise: nil)
                        logger.warning(
                            "\(job.name): a connection of the hypervisor was refused, as it has \(Self.mostStreams)")
                        continue
                    }
                    if begun.isFirst { group.addTask { [self] in await prepare(begun.attempt, scan) } }
                    group.addTask { [self] in await carry(hypervisor, begun.number) }
                }
            }
        }
    }

    /// Records a further connection of the hypervisor.
    /// - Returns: nil if it has too many.
    private func begin() -> (attempt: Int, number: Int, isFirst: Bool)? {
        state.withLockedValue { state in
            guard state.running < Self.mostStreams else { return nil }
            let isFirst = state.running == 0
            // A hypervisor that tries again begins anew.
            if isFirst { state = State(attempt: state.attempt + 1) }
            state.running += 1
            state.hasBegun = true
            return (state.attempt, state.openings.begin(), isFirst)
        }
    }

    private func carry(_ hypervisor: any Channel, _ number: Int) async {
        do {
            let finder = try await finder(for: hypervisor)
            try await waitForTurn(number)
            let stream = makeStream(finder, number)
            state.withLockedValue { $0.streams.append(stream) }
            try await stream.run(try await hypervisor.takeUp(HypervisorChannel.wrap))
            state.withLockedValue { state in
                state.running -= 1
                state.ended += 1
            }
            logger.info("the memory of \(job.name) is at \(job.destination)")
        } catch {
            hypervisor.close(promise: nil)
            state.withLockedValue { state in
                state.running -= 1
                state.openings.end(number)
                state.problem = state.problem ?? error.plainReason
            }
            logger.warning("the memory of \(job.name) did not get to \(job.destination): \(error.plainReason)")
        }
    }

    private func makeStream(_ finder: PageFinder, _ number: Int) -> MemorySourceStream {
        let context = MemorySourceStream.Context(
            name: job.name, destination: job.destination, finder: finder, transport: transport, pools: pools,
            rate: job.rate, logger: logger, parser: { GuestStreamParser() })
        return MemorySourceStream(context) { [state] in state.withLockedValue { $0.openings.open(number) } }
    }

    /// Waits until all earlier connections are at the hypervisor of the destination.
    private func waitForTurn(_ number: Int) async throws {
        try await state.waitUnlessCancelled { $0.openings.turn(of: number) != .later }
        guard state.withLockedValue({ $0.openings.turn(of: number) }) == .now else {
            throw MigrationError.impossibleHere("an earlier connection of the hypervisor has failed")
        }
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
        await state.wait { $0.isOver || ($0.running == 0 && $0.hasBegun) }
    }

    /// Waits until no connection is carried.
    public func waitUntilIdle() async {
        await state.wait { $0.running == 0 }
    }

    // MARK: The disks

    /// Waits until pages can be looked for, or the hypervisor hangs up.
    private func finder(for hypervisor: any Channel) async throws -> PageFinder {
        // A channel that was just accepted is not active yet.
        let isClosed = NIOLockedValueBox(false)
        hypervisor.closeFuture.whenComplete { [state] _ in
            isClosed.withLockedValue { $0 = true }
            state.recheck()
        }
        try await state.waitUnlessCancelled { $0.finder != nil || isClosed.withLockedValue { $0 } }
        guard let finder = state.withLockedValue({ $0.finder }) else { throw PeerError.cut }
        return try finder.get()
    }

    /// Finds the disks for the connections of an attempt, and builds the index of their blocks: once, however many connections
    /// there are. If the memory may go at once, they need not wait for the index.
    private func prepare(_ attempt: Int, _ scan: Task<[AgreedDisk], any Error>) async {
        do {
            var finder: PageFinder?
            while isWanted(attempt) {
                // A migration that was cut off is followed by another, with disks of its own.
                let disks = try await offered(scan)
                if job.isAtOnce, finder == nil, let disks {
                    finder = PageFinder(disks: disks)
                    publish(.success(finder!), for: attempt)
                }
                if let disks, disks.allSatisfy(\.isConfirmed) {
                    let used = finder ?? PageFinder(disks: disks)
                    try await used.build(in: job.scratch, on: pools.background) { [self] in isWanted(attempt) }
                    return publish(.success(used), for: attempt)
                }
                try await Task.sleep(for: Self.interval)
            }
        } catch {
            logger.warning("\(job.name): pages can't be looked for on the guest's disks: \(error.plainReason)")
            publish(.failure(error), for: attempt)
        }
    }

    /// The disks; nil until the destination has taken the offers of all of them.
    private func offered(_ scan: Task<[AgreedDisk], any Error>) async throws -> [AgreedDisk]? {
        guard case .moving(let migrations) = disks else { return try await scan.value }
        let agreed = migrations().map(\.agreed)
        let known = agreed.compactMap(\.self)
        return known.count == agreed.count ? known : nil
    }

    private func isWanted(_ attempt: Int) -> Bool {
        state.withLockedValue { $0.attempt == attempt && $0.running > 0 && !$0.isOver }
    }

    private func publish(_ finder: Result<PageFinder, any Error>, for attempt: Int) {
        state.withLockedValue { state in
            // A finder without its index sends pages as bytes.
            guard state.attempt == attempt, state.finder == nil else { return }
            state.finder = finder
        }
    }
}
