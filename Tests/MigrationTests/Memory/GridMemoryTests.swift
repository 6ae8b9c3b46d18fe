import Foundation
import MigrationCore
import NIOConcurrencyHelpers
import Peer
import TestSupport
import Testing

@testable import Block
@testable import Migration
@testable import PeerModel

/// Pages of a guest's memory that equal blocks of a partition that begins anywhere.
@Suite("Memory beside a disk on the grid of its partitions", .timeLimit(.minutes(5)))
struct GridMemoryTests {
    private let nodes: RelayingNodes

    init() throws { nodes = try RelayingNodes() }

    @Test("Pages that are blocks of a partition at sector 63 of a disk that moves -> named, and not sent")
    func moving() async throws {
        var random = Seeded.fresh()
        let (source, destination) = (nodes.source, nodes.destination)
        let pages = 256
        let partition = random.bytes(pages * StreamPart.pageBytes)
        let bytes = random.bytes(63 * 512) + partition
        let image = try RawImage.create(path: source.scratch.file("disk.raw"), size: UInt64(bytes.count))
        try bytes.withUnsafeBytes { try image.write($0, at: 0) }
        let disk = Disk(size: UInt64(bytes.count), device: image.device, loops: [source.loop])
        let stream = MadeMemory.stream(of: partition)
        let waiting = Hypervisor.listen(at: "\(nodes.folder)/guest.sock")
        defer { close(waiting) }
        try await destination.receiving(memory: try MemoryDirectory(path: nodes.folder)) { address in
            var job = source.job(
                "disk", disk, image, to: address, rate: RateLimit(bitsPerSecond: nil), switchover: .manual)
            job.findPlaces = { _ in [63 * 512] }
            job.hasMemory = true
            let migration = SourceMigration(
                job: job, transport: source.transport, pools: source.pools, logger: source.logger)
            let links = NIOLockedValueBox<ForwardLink?>(nil)
            let moving = Task { try await migration.run { link in links.withLockedValue { $0 = link } } }
            try await waitUntil("the destination has the disk") { migration.agreed?.isConfirmed == true }
            try await nodes.listening(to: address, .moving { [migration] }) { relay async throws in
                let here = try await Hypervisor.connect(to: nodes.socket)
                let there = try await Hypervisor.accept(on: waiting)
                async let came = there.read()
                #expect(try await here.write(stream))
                here.endWriting()
                let read = try await came
                #expect(read == stream)
                here.hangUp()
                await relay.waitUntilIdle()
                #expect(relay.status.disk == UInt64(pages * StreamPart.pageBytes))
                #expect(relay.status.link == 0)
            }
            #expect(migration.switchOver())
            _ = try await moving.value
            links.withLockedValue { $0 }?.stop()
        }
        #expect(try Array(TestNode.contents("\(destination.images)/disk.raw")) == bytes)
    }
}
