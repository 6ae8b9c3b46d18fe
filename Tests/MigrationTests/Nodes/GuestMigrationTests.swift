import Block
import Foundation
import NIOConcurrencyHelpers
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("Several disks of one guest (invariants 5 and 6)", .timeLimit(.minutes(10)))
struct GuestMigrationTests {
    /// A guest with disks of very different sizes, and what it knows of each.
    private struct Machine {
        let names: [String]
        let disks: [(Disk, RawImage)]
        let guests: [Guest]

        init(
            on node: TestNode, names: [String] = ["disk", "log", "data"], sizes: [UInt64] = [6 << 20, 70_000, 1 << 20]
        ) throws {
            var random = Seeded.fresh()
            self.names = names
            var disks: [(Disk, RawImage)] = []
            for (name, size) in zip(names, sizes) { disks.append(try node.makeDisk(name, size: size, &random)) }
            self.disks = disks
            guests = try disks.enumerated().map { number, disk in
                try node.guest(on: disk.0, disk.1, seed: UInt64(number) + 11)
            }
        }

        func migration(
            on node: TestNode, to address: PeerAddress, rate: UInt64 = 40_000_000, switchover: Switchover = .converged
        ) -> GuestMigration {
            let rate = RateLimit(bitsPerSecond: rate)
            return GuestMigration(
                jobs: zip(names, disks).map { name, disk in
                    node.job(name, disk.0, disk.1, to: address, rate: rate, switchover: switchover)
                }, transport: node.transport, pools: node.pools, logger: TestNode.quiet)
        }

        /// Writes to all disks until the task is cancelled.
        func write() -> Task<Bool, Never> {
            Task {
                await withTaskGroup(of: CInt.self) { group in
                    for guest in guests { group.addTask { await guest.run(pausing: .milliseconds(2)) } }
                    return await group.allSatisfy { $0 == 0 }
                }
            }
        }

        func find(on node: TestNode) async -> Bool {
            for (guest, disk) in zip(guests, disks) where !(await guest.finds(through: node.client(disk.0))) {
                return false
            }
            return true
        }

        func hasMoved(_ node: TestNode) throws -> [Bool] {
            try disks.map { try SourceRecords(directory: node.state, image: $0.1).moved() != nil }
        }
    }

    @Test("They arrive while the guest writes to all of them", arguments: [Switchover.converged, .now])
    func together(switchover: Switchover) async throws {
        let source = try TestNode()
        let destination = try TestNode()
        let machine = try Machine(on: source)
        let moved = NIOLockedValueBox(0)
        try await destination.receiving { address in
            let writing = machine.write()
            let reports = try await machine.migration(on: source, to: address, switchover: switchover).run(
                supplying: { _, _ in },
                forwarding: { _, _ in
                    // The moment has come for all.
                    #expect((try? machine.hasMoved(source)) == [true, true, true])
                    moved.withLockedValue { $0 += 1 }
                })
            #expect(reports.map(\.export) == machine.names)
            #expect(reports.allSatisfy { $0.state == "complete" })
            writing.cancel()
            #expect(await writing.value, "a request of the guest failed")
            #expect(await machine.find(on: source))
        }
        #expect(moved.withLockedValue { $0 } == 3)
        for (name, guest) in zip(machine.names, machine.guests) {
            #expect(try TestNode.contents("\(destination.images)/\(name).raw") == guest.model)
        }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: source.scratch.file("state")).allSatisfy {
                $0.hasPrefix("moved")
            })
        for disk in machine.disks {
            let record = try SourceRecords(directory: source.state, image: disk.1).moved()
            #expect(record?.group == nil, "it stands by itself")
        }
    }

    @Test("Where one can't go, none does, and the guest is unaware")
    func refused() async throws {
        let source = try TestNode()
        let destination = try TestNode()
        let machine = try Machine(on: source, names: ["disk", "log", "taken"])
        try await destination.receiving { address in
            let writing = machine.write()
            let migration = machine.migration(on: source, to: address)
            let error = await #expect(throws: MigrationError.self) {
                try await migration.run(supplying: { _, _ in }, forwarding: { _, _ in Issue.record("one has gone") })
            }
            #expect(error?.description.contains("an export 'taken' already") == true)
            #expect(migration.again() == nil)
            try await Task.sleep(for: .milliseconds(50))
            writing.cancel()
            #expect(await writing.value, "a request of the guest failed")
            #expect(await machine.find(on: source))
        }
        #expect(try machine.hasMoved(source) == [false, false, false])
        #expect(destination.arrived.withLockedValue { $0.isEmpty })
    }

    @Test("A word that can't be given leaves all of them where they are; tried again, all of them go")
    func wordFails() async throws {
        let source = try TestNode()
        let destination = try TestNode()
        let machine = try Machine(on: source)
        try await destination.receiving { address in
            let migration = machine.migration(on: source, to: address)
            // Where the word belongs there is a folder.
            let word = "\(source.scratch.file("state"))/together-\(migration.groupID).json"
            try FileManager.default.createDirectory(atPath: "\(word)/x", withIntermediateDirectories: true)
            let writing = machine.write()
            await #expect(throws: FileError.self) {
                try await migration.run(supplying: { _, _ in }, forwarding: { _, _ in Issue.record("one has gone") })
            }
            writing.cancel()
            #expect(await writing.value, "a request of the guest failed")
            #expect(await machine.find(on: source))
            try FileManager.default.removeItem(atPath: word)
            #expect(try machine.hasMoved(source) == [false, false, false])
            let reports = try await machine.migration(on: source, to: address).run(
                supplying: { _, _ in }, forwarding: { _, _ in })
            #expect(reports.count == 3)
            #expect(await machine.find(on: source))
        }
    }

    @Test("Switch or rate after an attempt was cut -> the next attempt keeps it", arguments: [1, 2])
    func askedBetweenAttempts(count: Int) async throws {
        let source = try TestNode()
        let destination = try TestNode()
        let machine = try Machine(
            on: source, names: Array(["disk", "log"].prefix(count)), sizes: Array([1 << 20, 70_000].prefix(count)))
        try await destination.receiving { address in
            let migration = machine.migration(on: source, to: address, switchover: .manual)
            let moving = Task { try await migration.run(supplying: { _, _ in }, forwarding: { _, _ in }) }
            for disk in migration.disks {
                while disk.progress.phase != "waiting" { try await Task.sleep(for: .milliseconds(5)) }
            }
            migration.disks[0].group.fail(PeerError.cut)
            try #require(migration.disks[count - 1].switchOver(), "another attempt follows")
            migration.disks[0].rate.set(bitsPerSecond: 30_000_000)
            await #expect(throws: PeerError.self) { try await moving.value }
            let next = try #require(migration.again())
            #expect(next.disks[count - 1].rate === migration.disks[count - 1].rate)
            #expect(!migration.disks[0].switchOver() && !migration.disks[0].cancel(), "the next attempt is asked now")
            #expect(try await next.run(supplying: { _, _ in }, forwarding: { _, _ in }).count == count)
            #expect(await machine.find(on: source))
        }
    }

    @Test("Cancel before an attempt begins -> nobody is connected to")
    func cancelledBefore() async throws {
        let source = try TestNode()
        let machine = try Machine(on: source, names: ["disk"], sizes: [70_000])
        let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
        defer { close(listener) }
        try #require(listen(listener, 1) == 0)
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(listener, $0, &length) }
        }
        let address = PeerAddress(host: "127.0.0.1", port: UInt16(bigEndian: name.sin_port))
        let migration = machine.migration(on: source, to: address)
        #expect(migration.disks[0].cancel())
        await migration.pause(atMost: .seconds(10_000))
        await #expect(throws: MigrationError.self) {
            try await migration.run(supplying: { _, _ in }, forwarding: { _, _ in Issue.record("it has gone") })
        }
        #expect(migration.again() == nil)
        let connection = accept(listener, nil, nil)
        #expect(connection < 0, "the destination was connected to")
        if connection >= 0 { close(connection) }
    }

    @Test("One is cancelled: all are; one is switched: all are")
    func oneForAll() async throws {
        let source = try TestNode()
        let destination = try TestNode()
        let machine = try Machine(on: source)
        try await destination.receiving { address in
            for isCancelled in [true, false] {
                let migration = machine.migration(on: source, to: address, switchover: .manual)
                let moving = Task { try await migration.run(supplying: { _, _ in }, forwarding: { _, _ in }) }
                for disk in migration.disks {
                    while disk.progress.phase != "waiting" { try await Task.sleep(for: .milliseconds(5)) }
                }
                if isCancelled {
                    #expect(migration.disks[2].cancel())
                    await #expect(throws: MigrationError.self) { try await moving.value }
                    #expect(migration.again() == nil)
                    #expect(try machine.hasMoved(source) == [false, false, false])
                } else {
                    #expect(migration.disks[1].switchOver())
                    #expect(try await moving.value.count == 3)
                    #expect(!migration.disks[0].cancel())
                }
                #expect(await machine.find(on: source))
            }
        }
    }
}
