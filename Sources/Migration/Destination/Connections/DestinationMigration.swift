import Block
import Index
import Logging
import MigrationCore
import MigrationProtocol
import Peer

/// Serves the connections of peers, each according to its purpose.
public struct DestinationMigration: Sendable {
    /// The time limit for a peer to close a connection after the last message of this side.
    private static let closingLimit = Duration.seconds(5)

    private let context: DestinationContext
    private let hasRoom: @Sendable () -> Bool
    private let isOwn: @Sendable (PeerConnection) -> Bool
    private let memory: MemoryDirectory?
    private let lender: (any NeighbourLender)?
    private let lendingPace: LendingPace
    /// The time for which a peer may say nothing once it has made its offer.
    var arrivalIdleTimeout = ArrivalIdleTimeout()

    /// - Parameters:
    ///   - indexDirectory: the index of the neighbours; nil for none.
    ///   - client: makes the way to a disk for forwarded requests.
    ///   - pools: for hashing and the files.
    ///   - site: finds neighbours on other hosts; nil for none.
    ///   - arrivals: finds disks that arrive at other hosts; nil for none.
    ///   - memory: the folder of hypervisors that wait for a guest's memory; nil to take none.
    ///   - lender: lends images to other hosts of the site; nil to lend none.
    ///   - lendingPace: of all that is lent.
    ///   - isOwn: whether this node has opened a connection itself.
    ///   - hasRoom: whether this process has descriptors for one more disk.
    package init(
        registry: IncomingDiskRegistry, indexDirectory: String?, pools: WorkPools, logger: Logger,
        site: (@Sendable () -> SiteTables?)? = nil, arrivals: SiteArrivals? = nil, memory: MemoryDirectory? = nil,
        lender: (any NeighbourLender)? = nil, lendingPace: LendingPace = LendingPace(bytesPerSecond: nil),
        hasRoom: @escaping @Sendable () -> Bool = { true },
        isOwn: @escaping @Sendable (PeerConnection) -> Bool = { _ in false },
        client: @escaping @Sendable (Disk) -> DiskClient
    ) {
        self.hasRoom = hasRoom
        self.isOwn = isOwn
        self.memory = memory
        self.lender = lender
        self.lendingPace = lendingPace
        context = DestinationContext(
            registry: registry, indexDirectory: indexDirectory, site: site ?? { nil }, arrivals: arrivals,
            pools: pools, logger: logger, client: client)
    }

    /// Serves a connection until either side ends it.
    public func serve(_ connection: PeerConnection) async {
        var frames = connection.inbound.makeAsyncIterator()
        do {
            guard let frame = try await frames.next(), case .hello(let hello) = try Message(frame: frame)
            else {
                throw MigrationError.unexpected("no hello")
            }
            _ = try ProtocolSupport.agreement(source: hello.support, destination: .own)
            let brings = [.migrate, .estimate, .memory].contains(hello.purpose)
            if brings, isOwn(connection) { throw MigrationError.refused(MigrationError.sameNode) }
            if brings, !hasRoom() {
                throw MigrationError.refused(
                    "its node has hardly any file descriptors left; raise its limit (LimitNOFILE=), or try again later")
            }
            try await serve(hello, connection, &frames)
        } catch {
            context.logger.debug("peer connection ended: \(error)")
            await Self.end(connection, &frames, with: DestinationContext.refusal(error))
        }
    }

    private func serve(_ hello: Hello, _ connection: PeerConnection, _ frames: inout PeerFrames) async throws {
        switch hello.purpose {
        case .unknown:
            throw MigrationError.refused(
                "it does not know what this connection is for; run the same release on both sides")
        case .migrate:
            try await MigrateConnection(
                context: context, hello: hello, connection: connection, limits: arrivalIdleTimeout
            ).run(&frames)
        case .estimate:
            try await EstimateConnection(context: context, hello: hello, connection: connection).run(&frames)
        case .probe:
            try await ProbeConnection(context: context, connection: connection).run(&frames)
        case .neighbours:
            try await NeighbourConnection(
                context: context, hello: hello, connection: connection, lender: lender, pace: lendingPace
            ).run(&frames)
        case .forward:
            try await ForwardConnection(context: context, hello: hello, connection: connection).run(&frames)
        case .demand:
            try await ChannelConnection(context: context, kind: .demand, hello: hello, connection: connection).run(
                &frames)
        case .memory:
            try await MemoryConnection(context: context, hello: hello, connection: connection, directory: memory).run(
                &frames)
        case .bulk:
            try await ChannelConnection(context: context, kind: .bulk, hello: hello, connection: connection).run(
                &frames)
        }
    }

    /// Sends the last message and waits a moment until the peer has received it and hangs up. If this end closed while
    /// data is still coming in, the kernel would throw the message away.
    static func end(_ connection: PeerConnection, _ frames: inout PeerFrames, with message: Message) async {
        let timer = Task {
            try await Task.sleep(for: closingLimit)
            connection.close()
        }
        defer { timer.cancel() }
        do {
            try await connection.send(message.encoded())
            while try await frames.next() != nil {}
        } catch {}
    }
}
