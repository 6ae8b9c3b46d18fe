import Block
import Foundation
import Index
import Logging
import NIOPosix
import Peer
import Ring
import NIOConcurrencyHelpers
import TestSupport

@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol
@testable import PeerModel

/// What a node needs for a migration, without the node: loops, threads, a site, a listener.
final class TestNode: Sendable {
    let scratch: Scratch
    let loop: Ring.EventLoop
    let transport: PeerTransport
    let pools = WorkPools(threads: 2)
    let state: StateDirectory
    let arrived = NIOLockedValueBox<[String: Disk]>([:])
    /// The images of disks that have arrived and have moved on since.
    let bases = NIOLockedValueBox<[String: ImageBase]>([:])
    /// Waited for before clients of an incoming disk are answered no more.
    let beforeWithdrawal = NIOLockedValueBox<@Sendable (String) async -> Void>({ _ in })
    /// Disks that are answered for before they are here.
    let announced = NIOLockedValueBox<[String: Disk]>([:])

    init(protection: PeerProtection = .loopback, files: any StateFiles = SystemStateFiles()) throws {
        transport = PeerTransport(
            group: MultiThreadedEventLoopGroup(numberOfThreads: 1), protection: protection)
        scratch = Scratch()
        loop = try Ring.EventLoop(index: 0)
        state = try StateDirectory(path: scratch.file("state"), files: files)
    }

    let log = NotingLog()
    var logger: Logger { Logger(label: "test") { [log] _ in log } }

    /// The site of the current life.
    let site = NIOLockedValueBox<IncomingDiskRegistry?>(nil)
    let arrivedImages = NIOLockedValueBox<[String: any DiskImage]>([:])

    var images: String { scratch.file("images") }

    /// Serves an image of random blocks, of which some are zero and some repeat.
    func makeDisk(_ name: String = "disk", size: UInt64, _ random: inout Seeded) throws -> (Disk, RawImage) {
        let image = try RawImage.create(path: scratch.file("\(name).raw"), size: size)
        var contents = [UInt8](repeating: 0, count: Int(size))
        let repeated = random.bytes(4096)
        var offset = 0
        while offset < contents.count {
            let end = min(contents.count, offset + 4096)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: break
            case 1: contents.replaceSubrange(offset..<end, with: repeated[..<(end - offset)])
            default: contents.replaceSubrange(offset..<end, with: random.bytes(end - offset))
            }
            offset = end
        }
        try contents.withUnsafeBytes { try image.write($0, at: 0) }
        return (Disk(size: size, device: FileDevice(image: image), loops: [loop]), image)
    }

    func client(_ disk: Disk) -> DiskClient { DiskClient(disk: disk, loop: loop) }

    /// A guest that works on a disk of this node.
    func guest(on disk: Disk, _ image: any DiskImage, seed: UInt64) throws -> Guest {
        Guest(client: client(disk), contents: try Self.contents(image.path), seed: seed)
    }

    /// Takes disks in while `body` runs; each call is another life of the node.
    func receiving<Result: Sendable>(
        index: String? = nil, silence: ArrivalIdleTimeout = ArrivalIdleTimeout(), memory: MemoryDirectory? = nil,
        arrivals: SiteArrivals? = nil, lender: (any NeighbourLender)? = nil,
        _ body: (PeerAddress) async throws -> Result
    ) async throws -> Result {
        arrived.withLockedValue { $0 = [:] }
        arrivedImages.withLockedValue { $0 = [:] }
        let loop = loop
        let site = try IncomingDiskRegistry(images: images, state: state, pools: pools, logger: logger, host: self)
        try await site.restore()
        self.site.withLockedValue { $0 = site }
        var migrations = DestinationMigration(
            registry: site, indexDirectory: index, pools: pools, logger: logger, arrivals: arrivals, memory: memory,
            lender: lender
        ) { DiskClient(disk: $0, loop: loop) }
        migrations.arrivalIdleTimeout = silence
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: transport)
        let task = Task { [migrations] in await listener.run { await migrations.serve($0) } }
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(listener.address)) } catch { result = .failure(error) }
        await site.stop()
        self.site.withLockedValue { $0 = nil }
        task.cancel()
        await task.value
        return try result.get()
    }

    func migration(
        of disk: Disk, _ image: any DiskImage, to address: PeerAddress, rate: UInt64? = nil,
        pause: Duration = .milliseconds(200), switchover: Switchover = .converged, domains: [String] = []
    ) -> SourceMigration {
        var job = job(
            "disk", disk, image, to: address, rate: RateLimit(bitsPerSecond: rate), pause: pause, switchover: switchover
        )
        job.domains = domains
        return SourceMigration(job: job, transport: transport, pools: pools, logger: logger)
    }

    func job(
        _ export: String, _ disk: Disk, _ image: any DiskImage, to address: PeerAddress, rate: RateLimit,
        pause: Duration = .milliseconds(200), switchover: Switchover = .converged
    ) -> SourceJob {
        SourceJob(
            export: export, disk: disk, image: image, destination: address, switchover: switchover,
            maximumPause: pause, rate: rate, records: SourceRecords(directory: state, image: image))
    }

    static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    static func contents(_ path: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: path))
    }
}

extension TestNode: IncomingDiskHost {
    func export(with image: any DiskImage) async -> String? { nil }

    func open(_ location: String, format: String?, for export: String) async throws -> any DiskImage {
        try RawImage(path: location, access: .readWrite)
    }

    func isNameTaken(_ export: String) -> Bool { export == "taken" }

    func announce(_ export: String, size: UInt64, device: BlockDevice) async throws -> Disk {
        let disk = Disk(size: size, device: device, loops: [loop])
        announced.withLockedValue { $0[export] = disk }
        return disk
    }

    func withdraw(_ export: String) async {
        await beforeWithdrawal.withLockedValue { $0 }(export)
        announced.withLockedValue { $0[export] = nil }
    }

    func base(of export: String, isRestored: Bool) async -> ImageBase? { bases.withLockedValue { $0[export] } }

    func activate(_ arriving: ReceivedDisk) async throws -> Disk {
        arrivedImages.withLockedValue { $0[arriving.export] = arriving.image }
        let disk = arriving.early ?? Disk(size: arriving.image.size, device: arriving.device, loops: [loop])
        arrived.withLockedValue { $0[arriving.export] = disk }
        return disk
    }

    func image(of export: String) async -> (any DiskImage)? { arrivedImages.withLockedValue { $0[export] } }

    func completed(_ export: String) async {}
}
