import Block
import Foundation
import Index
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("A disk that moves", .timeLimit(.minutes(10)))
struct MigrationTests {
    @Test(
        "It arrives whole, whatever its size", arguments: [1, 511, 4096, 4097, 300_001, 6 << 20] as [UInt64])
    func arrives(size: UInt64) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: size, &random)
        let report = try await destination.receiving { address in
            try await source.migration(of: disk, image, to: address).run { _ in }
        }
        #expect(try TestNode.contents(image.path) == TestNode.contents("\(destination.images)/disk.raw"))
        #expect(report.state == "complete")
        #expect(report.ledger.total == size, "nothing was written, so nothing was sent again")
        #expect(report.resent == 0)
    }

    /// Tries again, as a node does, where a busy machine has kept the guest waiting too long.
    private func untilInTime<Report>(_ attempt: () async throws -> Report) async throws -> Report {
        while true {
            do { return try await attempt() } catch MigrationError.tooSlow { continue }
        }
    }

    @Test(
        "Invariants 1 and 8: what a guest writes meanwhile is there, and so is what it writes afterwards",
        arguments: 0..<6)
    func underWrites(run: Int) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 8 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: random.next())
        let pause = Duration.microseconds(Int.random(in: 500...3000, using: &random))
        try await destination.receiving { address in
            let writing = Task { await guest.run(pausing: pause) }
            let report = try await untilInTime {
                try await source.migration(of: disk, image, to: address, rate: 400_000_000).run { _ in }
            }
            #expect(report.ledger.total == report.size + report.resent)
            try await Task.sleep(for: .milliseconds(50))
            writing.cancel()
            #expect(await writing.value == 0, "a request of the guest failed")
            #expect(guest.writes > 0)
            #expect(await guest.finds(through: source.client(disk)), "through the source, which forwards")
            let arrived = try #require(destination.arrived.withLockedValue { $0["disk"] })
            #expect(await guest.finds(through: destination.client(arrived)), "at the destination")
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
    }

    @Test(
        "Invariant 6: cancelled at any moment, the source goes on as before and the next migration succeeds",
        arguments: 0..<8)
    func cancelled(run: Int) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 4 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: random.next())
        let delay = Duration.milliseconds(Int.random(in: 0...450, using: &random))
        try await destination.receiving { address in
            let writing = Task { await guest.run(pausing: .microseconds(500)) }
            let migration = source.migration(of: disk, image, to: address, rate: 80_000_000)
            let moving = Task { try await migration.run { _ in } }
            try await Task.sleep(for: delay)
            if migration.cancel() {
                await #expect(throws: MigrationError.self) { try await moving.value }
                #expect(await guest.finds(through: source.client(disk)) || !writing.isCancelled)
                _ = try await source.migration(of: disk, image, to: address).run { _ in }
            } else {
                _ = try await moving.value
            }
            writing.cancel()
            #expect(await writing.value == 0, "the guest noticed")
            #expect(await guest.finds(through: source.client(disk)))
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
        #expect(try FileManager.default.contentsOfDirectory(atPath: destination.images) == ["disk.raw"])
    }

    @Test("A link whose round trips alone take longer than the guest may wait is no reason to wait for ever")
    func noPause() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 1 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: random.next())
        try await destination.receiving { address in
            let writing = Task { await guest.run(pausing: .microseconds(500)) }
            let report = try await source.migration(of: disk, image, to: address, pause: .zero).run { _ in }
            #expect(report.state == "complete")
            writing.cancel()
            #expect(await writing.value == 0, "a request of the guest failed")
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
    }

    @Test("Invariant 12: holes and zeros stay sparse")
    func sparse() async throws {
        let source = try TestNode()
        let destination = try TestNode()
        let image = try RawImage.create(path: source.scratch.file("disk.raw"), size: 1 << 30)
        try [UInt8](repeating: 5, count: 10_000).withUnsafeBytes { try image.write($0, at: 123_456_789) }
        try [UInt8](repeating: 0, count: 4 << 20).withUnsafeBytes { try image.write($0, at: 500_000_000) }
        let disk = Disk(size: image.size, device: FileDevice(image: image), loops: [source.loop])
        let report = try await destination.receiving { address in
            try await source.migration(of: disk, image, to: address).run { _ in }
        }
        #expect(report.wire.total < 20_000)
        var info = stat()
        #expect(stat("\(destination.images)/disk.raw", &info) == 0)
        #expect(info.st_size == 1 << 30)
        #expect(info.st_blocks * 512 < 100_000, "\(info.st_blocks * 512) bytes were allocated")
    }

    @Test("Blocks that a later round finds zero are zero, and sparse, at the destination")
    func becomesZero() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 4 << 20, &random)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, rate: 40_000_000)
            let moving = Task { try await migration.run { _ in } }
            while migration.progress.done == 0 { try await Task.sleep(for: .milliseconds(1)) }
            #expect(await source.client(disk).perform(.trim, length: 4 << 20) == 0)
            _ = try await moving.value
        }
        var info = stat()
        #expect(stat("\(destination.images)/disk.raw", &info) == 0)
        #expect(try TestNode.contents("\(destination.images)/disk.raw").allSatisfy { $0 == 0 })
        #expect(info.st_blocks == 0)
    }

    @Test("A name that is taken, and a destination that is not there, are one line each")
    func refusals() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 8192, &random)
        try await destination.receiving { address in
            try FileManager.default.createDirectory(
                atPath: destination.images, withIntermediateDirectories: true)
            try Data("mine".utf8).write(to: URL(fileURLWithPath: "\(destination.images)/disk.raw"))
            let error = await #expect(throws: MigrationError.self) {
                try await source.migration(of: disk, image, to: address).run { _ in }
            }
            #expect(error?.description.contains("exists already") == true)
            #expect(try TestNode.contents("\(destination.images)/disk.raw") == Data("mine".utf8))
        }
        try await destination.receiving { address in
            let taken = SourceMigration(
                job: SourceJob(
                    export: "taken", disk: disk, image: image, destination: address,
                    maximumPause: .seconds(1),
                    rate: RateLimit(bitsPerSecond: nil),
                    records: SourceRecords(directory: source.state, image: image)),
                transport: source.transport, pools: source.pools, logger: TestNode.quiet)
            let error = await #expect(throws: MigrationError.self) { try await taken.run { _ in } }
            #expect(error?.description.contains("an export 'taken' already") == true)
        }
        let nobody = PeerAddress(host: "127.0.0.1", port: 1)
        await #expect(throws: PeerError.self) {
            try await source.migration(of: disk, image, to: nobody).run { _ in }
        }
        let elsewhere = PeerAddress(host: "192.0.2.1", port: 1)
        let error = await #expect(throws: PeerError.self) {
            try await source.migration(of: disk, image, to: elsewhere).run { _ in }
        }
        #expect(error?.description.contains("loopback") == true, "invariant 11")
    }
}
