import Block
import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol

@Suite("A disk that is switched over before all of it is there", .timeLimit(.minutes(10)))
struct PostCopyTests {
    @Test(
        "At once: the rest comes afterwards, whatever the guest does meanwhile",
        arguments: [1, 4097, 300_001, 24 << 20] as [UInt64])
    func atOnce(size: UInt64) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: size, &random)
        let before = try TestNode.contents(image.path)
        let guest = Guest(client: source.client(disk), contents: before, seed: random.next())
        try await destination.receiving { address in
            let writing = Task { await guest.run(pausing: .milliseconds(2)) }
            let migration = source.migration(of: disk, image, to: address, rate: 200_000_000, switchover: .now)
            let report = try await migration.run { _ in }
            #expect(report.state == "complete")
            #expect(report.rounds == 0)
            #expect(report.ledger.total == size)
            #expect(migration.progress.wire >= report.wire.data, "what comes afterwards is progress, too")
            let (wire, blocks) = (report.wire, (size + 4095) / 4096)
            #expect(wire.data + wire.fingerprints + wire.control == wire.total)
            writing.cancel()
            #expect(await writing.value == 0, "a request of the guest failed")
            // Of what comes afterwards 16 bytes a block say what it is, but for holes and what the guest has replaced, three
            // whole blocks a write at most. What comes while the guest writes it is passed by, and asked about again where
            // it is still missing then, which shows where there are few blocks.
            let written = 48 * UInt64(guest.writes)
            let isSmall = size < 1 << 20
            #expect(wire.fingerprints <= blocks * 16 + 40 * (blocks / 1024 + 1) + (isSmall ? written : 0))
            let least = isSmall ? 0 : blocks * 12
            #expect(wire.fingerprints + written >= least, "\(wire), \(guest.writes) writes")
            #expect(await guest.finds(through: source.client(disk)))
            let arrived = try #require(destination.arrived.withLockedValue { $0["disk"] })
            #expect(await guest.finds(through: destination.client(arrived)))
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
        #expect(try FileManager.default.contentsOfDirectory(atPath: destination.images) == ["disk.raw"])
        let moved = try #require(try SourceRecords(directory: source.state, image: image).moved())
        #expect(moved.isReleased)
    }

    @Test("Whatever many readers ask for at once, the questions to the source are in the order of its answers")
    func manyReaders() async throws {
        let source = try TestNode()
        let destination = try TestNode()
        let size: UInt64 = 16 << 30
        let image = try RawImage.create(path: source.scratch.file("disk.raw"), size: size)
        let disk = Disk(size: size, device: FileDevice(image: image), loops: [source.loop])
        var random = Seeded.fresh()
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, switchover: .now)
            let moving = Task { try await migration.run { _ in } }
            let arrived = try await arriving(destination.arrived)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<16 {
                    let client = destination.client(arrived)
                    var random = Seeded(random.next())
                    group.addTask {
                        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
                        defer { memory.deallocate() }
                        for _ in 0..<200 {
                            let offset = UInt64.random(in: 0..<size / 4096, using: &random) * 4096
                            let error = await client.perform(
                                .read, offset: offset, length: 4096, buffer: memory.baseAddress)
                            #expect(error == 0)
                        }
                    }
                }
            }
            #expect(try await moving.value.state == "complete")
        }
        #expect(source.log.warnings == [])
        #expect(destination.log.warnings == [])
    }

    @Test("At once: what the guest has read most comes first")
    func mostRead() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let size: UInt64 = 32 << 20
        let (disk, image) = try source.makeDisk(size: size, &random)
        let marks = [Int(size) - 4096, Int(size) - (4 << 20)]
        for offset in marks { try random.bytes(4096).withUnsafeBytes { try image.write($0, at: UInt64(offset)) } }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { memory.deallocate() }
        for _ in 0..<3 {
            #expect(
                await source.client(disk).perform(
                    .read, offset: UInt64(marks[0]), length: 4096, buffer: memory.baseAddress) == 0)
        }
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, rate: 25_000_000, switchover: .now)
            let moving = Task { try await migration.run { _ in } }
            func isThere(_ offset: Int) -> Bool {
                guard let file = FileHandle(forReadingAtPath: "\(destination.images)/disk.raw") else { return false }
                defer { try? file.close() }
                try? file.seek(toOffset: UInt64(offset))
                return (try? file.read(upToCount: 4096))?.contains { $0 != 0 } ?? false
            }
            while !isThere(marks[0]) { try await Task.sleep(for: .milliseconds(10)) }
            #expect(!isThere(marks[1]), "a part before it, which nobody has read, came earlier")
            #expect(try await moving.value.state == "complete")
        }
    }

    @Test("A guest that writes as fast as the link carries moves all the same")
    func hybrid() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        // So small and so slow a link that even a guest that waits for a busy machine's cores writes most of the disk
        // while a round lasts.
        let (disk, image) = try source.makeDisk(size: 128 << 10, &random)
        let guest = try source.guest(on: disk, image, seed: 5)
        try await destination.receiving { address in
            let writing = Task { await guest.run(pausing: .microseconds(100)) }
            let report = try await source.migration(
                of: disk, image, to: address, rate: 1_000_000, pause: .milliseconds(5)
            ).run { _ in }
            #expect(report.seconds.postcopy > 0)
            #expect(report.rounds > 1)
            writing.cancel()
            #expect(await writing.value == 0, "a request of the guest failed")
            #expect(await guest.finds(through: source.client(disk)))
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
    }

    @Test(
        "Invariant 13: before the switchover the destination reads through the source; the first write switches it over",
        arguments: [0, 30, 200])
    func firstWrite(delay: Int) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 2 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: 6)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, rate: 20_000_000, switchover: .firstWrite)
            let moving = Task { try await migration.run { _ in } }
            let early = try await arriving(destination.announced)
            for _ in 0..<5 {
                for _ in 0..<5 { #expect(await guest.step() == 0) }
                #expect(await guest.finds(through: destination.client(early)), "what the source has acknowledged")
            }
            try await Task.sleep(for: .milliseconds(delay))
            #expect(destination.arrived.withLockedValue { $0.isEmpty }, "reading does not switch it over")
            let there = Guest(client: destination.client(early), contents: guest.model, seed: 7)
            for _ in 0..<50 { #expect(await there.step() == 0) }
            #expect(await there.finds(through: destination.client(early)))
            #expect(await there.finds(through: source.client(disk)), "the source forwards")
            #expect(try await moving.value.state == "complete")
            #expect(try TestNode.contents("\(destination.images)/disk.raw") == there.model)
        }
    }

    @Test("By hand: it waits for as long as it takes, and what was written meanwhile is there")
    func manual() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 1 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: 8)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, switchover: .manual)
            let moving = Task { try await migration.run { _ in } }
            _ = try await arriving(destination.announced)
            for _ in 0..<40 {
                #expect(await guest.step() == 0)
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(destination.arrived.withLockedValue { $0.isEmpty })
            #expect(migration.switchOver())
            #expect(try await moving.value.state == "complete")
            #expect(await guest.finds(through: source.client(disk)))
            #expect(!migration.switchOver(), "that has been done")
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
    }

    @Test("By hand, in the midst of the first round: what was ready to be sent comes afterwards")
    func midway() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 16 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: 9)
        let half = random.bytes(8 << 20)
        #expect(await guest.write(half, at: 8 << 20) == 0)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, rate: 40_000_000, switchover: .manual)
            let moving = Task { try await migration.run { _ in } }
            _ = try await arriving(destination.announced)
            while migration.progress.ledger.link < 1 << 20 {
                #expect(await guest.step() == 0)
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(migration.progress.round == 1 && migration.progress.done < 14 << 20, "\(migration.progress)")
            #expect(migration.switchOver())
            #expect(try await moving.value.state == "complete")
            #expect(await guest.finds(through: source.client(disk)))
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
    }

    @Test("While nobody asks for the disk, what the guest keeps rewriting is not sent again and again")
    func hotBlocks() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 1 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: 8)
        let journal = random.bytes(64 << 10)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, switchover: .manual)
            let moving = Task { try await migration.run { _ in } }
            _ = try await arriving(destination.announced)
            let end = ContinuousClock.now + .seconds(5)
            while ContinuousClock.now < end {
                #expect(await guest.write(journal, at: 128 << 10) == 0)
                try await Task.sleep(for: .milliseconds(5))
            }
            // Five times a second it is looked whether there is anything to send.
            #expect(migration.progress.round <= 12, "\(migration.progress)")
            #expect(migration.switchOver())
            let report = try await moving.value
            #expect(report.resent <= 9 * UInt64(journal.count), "\(report)")
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
    }

    @Test(
        "What the source can't read any more does not matter where the guest has replaced it",
        .enabled(if: LoopDevice.isPossible))
    func unreadable() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let half = 1 << 20
        let file = source.scratch.file("backing")
        var expected = Data(random.bytes(2 * half))
        try expected.write(to: URL(fileURLWithPath: file))
        let device = try await LoopDevice(file: file, sectorSize: 512)
        let path = device.path
        do {
            let image = try RawImage(path: path, access: .readWrite)
            let disk = Disk(size: image.size, device: FileDevice(image: image), loops: [source.loop])
            try await destination.receiving { address in
                let migration = source.migration(of: disk, image, to: address, rate: 8_000_000, switchover: .now)
                let moving = Task { try await migration.run { _ in } }
                let arrived = try await arriving(destination.arrived)
                // The second half is gone, as on a disk with bad sectors.
                truncate(file, half)
                _ = try await Command.run("/usr/sbin/blockdev", "--flushbufs", path)
                let guest = Guest(client: destination.client(arrived), contents: expected, seed: 9)
                #expect(await guest.write(random.bytes(half), at: half) == 0)
                #expect(try await moving.value.state == "complete")
                expected = guest.model
            }
        }
        try await device.remove()
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == expected)
    }

    @Test("Cancelled before the switchover: clients of the destination hear that it will not come")
    func cancelled() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 1 << 20, &random)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, switchover: .manual)
            let moving = Task { try await migration.run { _ in } }
            let early = try await arriving(destination.announced)
            let waiting = Task { await destination.client(early).perform(.writeZeroes, offset: 0, length: 4096) }
            try await Task.sleep(for: .milliseconds(100))
            if migration.cancel() {
                await #expect(throws: MigrationError.self) { try await moving.value }
                #expect(await waiting.value == ESHUTDOWN)
            } else {
                _ = try await moving.value
                #expect(await waiting.value == 0)
            }
        }
    }

    /// Waits until the disk is among these.
    private func arriving(_ disks: NIOLockedValueBox<[String: Disk]>) async throws -> Disk {
        for _ in 0..<1000 {
            if let disk = disks.withLockedValue({ $0["disk"] }) { return disk }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw MigrationError.unexpected("the disk does not come")
    }
}
