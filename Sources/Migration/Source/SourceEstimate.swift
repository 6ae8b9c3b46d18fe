import Block
import BlockModel
import Glibc
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOPosix
import Peer

/// Asks a destination which blocks of a disk it has, and estimates what moving it there would take. Nothing moves, and
/// neither side keeps anything.
public struct SourceEstimate: Sendable {
    /// Share of the link that TCP and IP leave of packets of 1500 bytes.
    private static let payload = 1448.0 / 1500
    /// Cost before the first block and after the last one: round trips, and seconds of work.
    private static let roundTrips = 6.0
    private static let workAround = 0.5
    /// Bytes that TCP sends in the first round trip, and doubles from there; RFC 6928.
    private static let firstWindow = 14_480.0
    /// The time in which free blocks must have been read once all has been asked.
    private static let freeLimit = Duration.seconds(10)
    /// Blocks whose fingerprints are looked at together.
    private static let blocksAtOnce: UInt64 = 1 << 14

    private let job: SourceJob
    private let transport: PeerTransport
    private let pools: WorkPools

    /// - Parameters:
    ///   - job: its rate limits the messages of the estimate, and is taken for that of the link.
    ///   - pools: for reading, hashing and compressing.
    public init(job: SourceJob, transport: PeerTransport, pools: WorkPools) {
        self.job = job
        self.transport = transport
        self.pools = pools
    }

    /// Asks, and computes the estimate.
    /// - Throws: the reason why the destination would not take the disk, or can't be asked.
    public func run() async throws -> MigrationEstimate {
        try await PeerConnection.connect(to: job.destination, on: transport) { connection in
            let link = SourceLink(connection: connection, rate: job.rate)
            let handshake = SourceHandshake(job: job, migration: MigrationID(), purpose: .estimate, pool: pools.urgent)
            var first = SourceMachine(size: job.disk.size, isEstimate: true)
            first.places = try await handshake.places()
            let machine = NIOLockedValueBox(first)
            let judge = SourceReceiver.Judge { message in try machine.withLockedValue { try $0.receive(message) } }
            var receiver = SourceReceiver(connection: connection, link: link, judge: judge)
            let result: Result<MigrationEstimate, any Error>
            do {
                result = .success(try await ask(handshake, link, machine, &receiver))
            } catch {
                result = .failure(await receiver.explain(error))
            }
            await receiver.stop()
            return try result.get()
        }
    }

    private func ask(
        _ handshake: SourceHandshake, _ link: SourceLink, _ machine: NIOLockedValueBox<SourceMachine>,
        _ receiver: inout SourceReceiver
    ) async throws -> MigrationEstimate {
        let began = ContinuousClock.now
        let opened = try await open(handshake, link, &receiver)
        let geometry = opened.geometry
        _ = machine.withLockedValue { $0.opened() }
        let free = FreeBlocks(of: job.image, geometry, job.readFree)
        let manifest = try FingerprintFile(geometry: geometry, directory: job.records.directory.scratch)
        let scanner = ManifestScanner(
            image: job.image, manifest: manifest, dirtyMap: DirtyMap(geometry: geometry), pool: pools.background)
        let threads = opened.takesLatePieces ? pools.compressors(for: 1) : 0
        let sample = try DataSample(
            sender: BlockSender(
                image: job.image, geometry: geometry, manifest: nil,
                pace: CompressionPace(bitsPerSecond: job.rate.bitsPerSecond, threads: threads), workers: threads),
            pool: pools.background, bitsPerSecond: job.rate.bitsPerSecond)
        try await ManifestExchange(scanner: scanner, geometry: geometry, link: link, hasBase: opened.hasBase).run(
            &receiver, isOver: { false }, zeros: { zero, _ in sample.addZeros(zero) }, answered: { _ in },
            wanted: sample.add)
        _ = machine.withLockedValue { $0.copied() }
        var (ledger, data, working) = sample.sum
        // Blocks that were still to come when they were asked for count as they are in the image now.
        ledger.link = geometry.size - min(geometry.size, ledger.total)
        var wire = link.wire
        wire.data = data
        wire.total += data
        let elapsed = began.duration(to: .now).inSeconds
        let roundTrip = (await link.path()?.shortestRoundTrip ?? .zero).inSeconds
        let total = job.rate.bitsPerSecond.map {
            let bytesPerSecond = Double($0) / 8 * Self.payload
            let gettingGoing = log2(max(1, bytesPerSecond * roundTrip / Self.firstWindow))
            return max(Double(wire.total) / bytesPerSecond, working, elapsed) + Self.workAround
                + roundTrip * (Self.roundTrips + gettingGoing)
        }
        return MigrationEstimate(
            export: job.export, size: geometry.diskSize, ledger: ledger,
            free: try await bytes(of: free, geometry, in: manifest), wire: wire, seconds: .init(total: total))
    }

    /// The free blocks that are not zeros.
    private func bytes(
        of free: FreeBlocks, _ geometry: BlockGeometry, in manifest: FingerprintFile
    ) async throws -> FreeBytes? {
        await free.wait(atMost: Self.freeLimit, unless: { false })
        let known = try await pools.background.runIfActive { [blocks = free.blocks] in
            var bytes: UInt64 = 0
            for run in blocks {
                for first in stride(from: run.lowerBound, to: run.upperBound, by: Int(Self.blocksAtOnce)) {
                    let part = first..<min(run.upperBound, first + Self.blocksAtOnce)
                    let full = try manifest.fingerprints(of: part).count { $0 != .zero }
                    bytes += UInt64(full * geometry.blockSize)
                }
            }
            return bytes
        }
        return known > 0 ? FreeBytes(known: known) : nil
    }

    private func open(
        _ handshake: SourceHandshake, _ link: SourceLink, _ receiver: inout SourceReceiver
    ) async throws -> OpenedMigration {
        try await link.send(handshake.hello)
        guard case .offer(let geometry, let agreement) = try await receiver.nextStep() else {
            preconditionFailure("an offer follows the welcome")
        }
        try await link.send(try await handshake.offer(geometry, agreement, abandoned: []))
        guard case .open(let opened) = try await receiver.nextStep() else {
            preconditionFailure("the disk follows the offer")
        }
        return opened
    }
}
