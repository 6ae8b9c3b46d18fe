import Block
import Foundation
import Index
import NIOConcurrencyHelpers
import Peer
import TestSupport
import Testing

@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol
@testable import PeerModel

/// Disks that move with blocks that begin where their partitions do.
@Suite("Grids of disks that move", .timeLimit(.minutes(10)))
struct GridTests {
    /// Origins of the moved disk: blocks of 1, 5 and 7 sectors are at the seams.
    private static let origins: [UInt64] = [63 * 512, 1 << 20 + 512, 3 << 20 + 3584]

    private func job(
        _ node: TestNode, _ disk: Disk, _ image: RawImage, to address: PeerAddress, switchover: Switchover = .converged,
        origins: [UInt64] = Self.origins, rate: UInt64? = nil
    ) -> SourceJob {
        var job = node.job(
            "disk", disk, image, to: address, rate: RateLimit(bitsPerSecond: rate), switchover: switchover)
        job.findPlaces = { _ in origins }
        return job
    }

    private func migration(_ node: TestNode, _ job: SourceJob) -> SourceMigration {
        SourceMigration(job: job, transport: node.transport, pools: node.pools, logger: node.logger)
    }

    @Test("A neighbour with the partition at another sector -> all of it is found; the image is the same")
    func neighbour() async throws {
        var random = Seeded.fresh()
        let (source, destination) = (try TestNode(), try TestNode())
        let (disk, image) = try source.makeDisk(size: 4 << 20, &random)
        // The partition is at sector 63 here, and at 2048 there.
        let partition = try TestNode.contents(image.path)[(63 * 512)...]
        let neighbour = destination.scratch.file("neighbour.raw")
        try (Data(count: 1 << 20) + partition).write(to: URL(fileURLWithPath: neighbour))
        let index = destination.scratch.file("index")
        let store = try IndexStore(directory: index, findPlaces: { _ in [1 << 20] })
        _ = try store.add(neighbour, options: BuildOptions(threads: 2))
        let report = try await destination.receiving(index: index) { address in
            try await migration(source, job(source, disk, image, to: address, origins: [63 * 512])).run { _ in }
        }
        #expect(try TestNode.contents(image.path) == TestNode.contents("\(destination.images)/disk.raw"))
        // The last block before the partition is short, and no block of the partition crosses.
        #expect(report.ledger.link <= 64 * 512 && report.ledger.neighbour > 0, "\(report.ledger)")
    }

    @Test("A guest that writes across the seams while the disk is copied -> nothing is lost", arguments: [false, true])
    func guest(isPostCopy: Bool) async throws {
        var random = Seeded.fresh()
        let (source, destination) = (try TestNode(), try TestNode())
        let (disk, image) = try source.makeDisk(size: 5 << 20 + 1000, &random)
        let guest = try source.guest(on: disk, image, seed: random.next())
        try await destination.receiving { address in
            let writing = Task { await guest.run(pausing: .milliseconds(1)) }
            var job = job(
                source, disk, image, to: address, switchover: isPostCopy ? .now : .converged,
                rate: isPostCopy ? 20_000_000 : nil)
            job.maximumRounds = 4
            let moving = migration(source, job)
            let links = NIOLockedValueBox<ForwardLink?>(nil)
            _ = try await moving.run { link in links.withLockedValue { $0 = link } }
            writing.cancel()
            #expect(await writing.value == 0)
            let there = try #require(destination.arrived.withLockedValue { $0["disk"] })
            #expect(await destination.client(there).perform(.flush) == 0)
            links.withLockedValue { $0 }?.stop()
        }
        #expect(guest.writes > 0)
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
    }

    @Test("Reads and writes at the destination while blocks are missing, at every seam -> the right bytes")
    func postCopyReads() async throws {
        var random = Seeded.fresh()
        let (source, destination) = (try TestNode(), try TestNode())
        let size = 5 << 20 + 1000
        let (disk, image) = try source.makeDisk(size: UInt64(size), &random)
        let seed = random.next()
        try await destination.receiving { address in
            let links = NIOLockedValueBox<ForwardLink?>(nil)
            let moving = migration(
                source, job(source, disk, image, to: address, switchover: .now, rate: 8_000_000))
            async let moved = moving.run { link in links.withLockedValue { $0 = link } }
            try await waitUntil("it is served there") { destination.arrived.withLockedValue { $0["disk"] != nil } }
            let there = try #require(destination.arrived.withLockedValue { $0["disk"] })
            let client = destination.client(there)
            var random = Seeded(seed)
            var model = Array(try TestNode.contents(image.path))
            for step in 0..<400 {
                let seam = Int(Self.origins.randomElement(using: &random)!)
                let start = seam - Int.random(in: 0...9000, using: &random)
                let count = Int.random(in: 1...18_000, using: &random)
                let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
                defer { memory.deallocate() }
                let kind: RequestKind = [.read, .read, .write, .trim, .writeZeroes][step % 5]
                if kind == .write {
                    memory.copyBytes(from: random.bytes(count))
                    model.replaceSubrange(start..<start + count, with: memory)
                }
                let error = await client.perform(
                    kind, offset: UInt64(start), length: UInt64(count), buffer: memory.baseAddress)
                #expect(error == 0)
                switch kind {
                case .read: #expect(memory.elementsEqual(model[start..<start + count]), "step \(step)")
                case .writeZeroes:
                    model.replaceSubrange(start..<start + count, with: repeatElement(0, count: count))
                case .trim:
                    // Each trimmed byte may be the old one or 0.
                    let found = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
                    defer { found.deallocate() }
                    #expect(
                        await client.perform(
                            .read, offset: UInt64(start), length: UInt64(count), buffer: found.baseAddress) == 0)
                    for place in 0..<count {
                        #expect(found[place] == 0 || found[place] == model[start + place])
                        model[start + place] = found[place]
                    }
                default: break
                }
            }
            _ = try await moved
            #expect(await client.perform(.flush) == 0)
            #expect(try Array(TestNode.contents("\(destination.images)/disk.raw")) == model)
            links.withLockedValue { $0 }?.stop()
        }
    }

    @Test("Origins that are none -> the offer is refused in a line")
    func hostile() throws {
        for origins: [UInt64] in [[512, 512], [100], [0], [1 << 20], [.max - 511], (1...200).map { $0 * 512 }] {
            var machine = DestinationMachine()
            let offer = Offer(
                migration: MigrationID(), abandoned: [], export: "disk", size: 1 << 20, blockSize: 4096,
                details: OfferDetails(origins: origins))
            let error = #expect(throws: MigrationError.self) { try machine.receive(.offer(offer)) }
            #expect("\(error!)".contains("origins") && !"\(error!)".contains("\n"))
        }
    }

    @Test("A destination that knows no grids -> an offer without origins")
    func olderDestination() throws {
        for capabilities in [ProtocolSupport.own.capabilities, ProtocolSupport.own.capabilities.subtracting(.grids)] {
            var machine = SourceMachine(size: 1 << 20)
            machine.places = [63 * 512]
            let support = ProtocolSupport(versions: 3...3, capabilities: capabilities)
            let welcome = Welcome(support: support, blockSize: 4096)
            guard case .next(.offer(let geometry, _)) = try machine.receive(.welcome(welcome)) else {
                Issue.record("no offer")
                continue
            }
            #expect(geometry.origins == (capabilities.contains(.grids) ? [63 * 512] : []))
        }
    }
}
