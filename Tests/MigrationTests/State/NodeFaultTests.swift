import Block
import Foundation
import NIOConcurrencyHelpers
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// Whole migrations between two nodes of which one can't write its state files for a while. Every operation fails once, and
/// each kind of them in each of the ways; with `NEARBLOCK_ALL_FAULTS` set, every one of them does in each (see `FaultCases`).
///
/// | record of the destination | what holds where its change is not known to be durable | who tries again |
/// | --- | --- | --- |
/// | `incoming`, prepared | the source is not told, and keeps the disk | the source's next attempt |
/// | `incoming`, given up | the source is not told that nothing is kept | the source's next attempt |
/// | `incoming`, active | the disk is not served | the source, which goes on forwarding |
/// | `incoming`, complete | the source is not told, and stays needed | `PostCopy` |
/// | `returning`, removed | the disk is not served | the source, which goes on forwarding |
@Suite("Nodes that can't write their state", .timeLimit(.minutes(10)))
struct NodeFaultTests {
    enum End: CaseIterable {
        case fails, failsDone, stays

        var number: Int { Self.allCases.firstIndex(of: self)! }
    }

    /// A source, a destination and a disk of 40000 bytes between them, and others that go with it.
    private final class Pair: Sendable {
        let files = [FaultyStateFiles(), FaultyStateFiles()]
        let source: TestNode
        let destination: TestNode
        let disk: Disk
        let image: RawImage
        let guest: Guest
        /// Of all disks; the first is `disk`.
        let machines: [(name: String, disk: Disk, image: RawImage, guest: Guest)]
        let context: String
        let links = NIOLockedValueBox<[ForwardLink]>([])

        init(_ context: String, disks: Int = 1) throws {
            self.context = context
            source = try TestNode(files: files[0])
            destination = try TestNode(files: files[1])
            var random = Seeded.fresh()
            (disk, image) = try source.makeDisk(size: 40_000, &random)
            guest = try source.guest(on: disk, image, seed: random.next())
            var machines = [(name: "disk", disk: disk, image: image, guest: guest)]
            for number in 1..<disks {
                let (disk, image) = try source.makeDisk("disk\(number)", size: 20_000, &random)
                let guest = try source.guest(on: disk, image, seed: random.next())
                machines.append((name: "disk\(number)", disk: disk, image: image, guest: guest))
            }
            self.machines = machines
        }

        /// Of all disks together.
        func guestMigration(to address: PeerAddress) -> GuestMigration {
            let rate = RateLimit(bitsPerSecond: nil)
            return GuestMigration(
                jobs: machines.map { source.job($0.name, $0.disk, $0.image, to: address, rate: rate) },
                transport: source.transport, pools: source.pools, logger: source.logger)
        }

        func run(_ migration: GuestMigration) async throws {
            _ = try await migration.run(supplying: { _, _ in }) { [links] _, link in
                links.withLockedValue { $0.append(link) }
            }
        }

        /// The record by which the disks are given away.
        var word: String { machines.count > 1 ? "together.json" : "moved.json" }

        func migration(to address: PeerAddress) -> SourceMigration { source.migration(of: disk, image, to: address) }

        func run(_ migration: SourceMigration) async throws {
            _ = try await migration.run { [links] link in links.withLockedValue { $0.append(link) } }
        }

        var isServedThere: Bool { destination.arrived.withLockedValue { !$0.isEmpty } }
        var areAllServedThere: Bool { destination.arrived.withLockedValue { $0.count == machines.count } }

        /// Whether the source counts the disk as moved, now and whatever a machine finds that is started again now.
        func moved() throws -> Set<Bool> {
            var found: Set<Bool> = []
            for world in files[0].worlds(of: source.state.scratch) {
                let scratch = Scratch()
                for (name, data) in world { try data.write(to: URL(fileURLWithPath: scratch.file(name))) }
                let directory = try StateDirectory(path: scratch.path, files: UnflushedStateFiles())
                for machine in machines {
                    found.insert(try SourceRecords(directory: directory, image: machine.image).moved() != nil)
                }
            }
            for machine in machines {
                found.insert(try SourceRecords(directory: source.state, image: machine.image).moved() != nil)
            }
            return found
        }

        /// Moves the disk, again where that fails; the fault goes away when it has been met.
        func move() async throws {
            let mending = Task { [files] in
                while !Task.isCancelled {
                    try? await Task.sleep(for: .milliseconds(20))
                    for file in files where file.hasStruck { file.mend() }
                }
            }
            defer { mending.cancel() }
            try await destination.receiving { address in
                for attempt in 1... {
                    do {
                        try await run(migration(to: address))
                        break
                    } catch {
                        #expect(try moved() == [false], "\(context): not given away, and it may be")
                        #expect(!isServedThere, "\(context): served at both sides")
                        #expect(await guest.finds(through: source.client(disk)), "\(context): not served here")
                        guard attempt < 8 else { throw error }
                    }
                }
                #expect(try moved() == [true], "\(context): a switchover may be forgotten")
                #expect(isServedThere, "\(context): served nowhere")
                #expect(await guest.finds(through: source.client(disk)), "\(context): through the source")
                for link in links.withLockedValue({ $0 }) { link.stop() }
                for link in links.withLockedValue({ $0 }) { await link.waitUntilEnded() }
            }
            try await restartDestination()
        }

        private func restartDestination() async throws {
            for world in files[1].worlds(of: destination.state.scratch) {
                try files[1].restart(destination.state.scratch, with: world)
                try await destination.receiving { _ in
                    #expect(isServedThere, "\(context): the destination forgets what it serves")
                }
            }
        }
    }

    @Test("A disk is served at one side, whichever operation on a state file fails", arguments: [0, 1], End.allCases)
    func walk(side: Int, end: End) async throws {
        let clean = try Pair("no fault")
        try await clean.move()
        let operations = clean.files[side].operations
        #expect(operations.contains { $0.hasSuffix(side == 0 ? "moved.json" : "incoming.json") })
        for number in FaultCases.numbers(operations, kind: end.number, of: End.allCases.count) {
            let pair = try Pair("\(side == 0 ? "source" : "destination"), \(end) at \(number), \(operations[number])")
            switch end {
            case .fails: pair.files[side].strike(.fails(EIO), at: number)
            case .failsDone: pair.files[side].strike(.failsDone(EIO), at: number)
            case .stays: pair.files[side].strike(.stays(EIO), at: number)
            }
            try await pair.move()
        }
    }

    @Test(
        "While a switchover is in doubt the guest waits, the destination is told nothing, and a cancel has it gone",
        arguments: [true, false], [1, 3])
    func doubt(isCancelled: Bool, disks: Int) async throws {
        let pair = try Pair("in doubt", disks: disks)
        pair.files[0].strike(.stays(EIO), after: "rename \(pair.word)")
        try await pair.destination.receiving { address in
            let migration = pair.guestMigration(to: address)
            let moving = Task { try await pair.run(migration) }
            try await waitUntil("it is in doubt") { migration.disks.allSatisfy { $0.problem != nil } }
            let answered = NIOLockedValueBox(0)
            let reading = Task {
                await withTaskGroup(of: Bool.self) { tasks in
                    for machine in pair.machines {
                        tasks.addTask {
                            let finds = await machine.guest.finds(through: pair.source.client(machine.disk))
                            answered.withLockedValue { $0 += 1 }
                            return finds
                        }
                    }
                    return await tasks.allSatisfy { $0 }
                }
            }
            for (disk, machine) in zip(migration.disks, pair.machines) {
                #expect(disk.progress.phase == "fenced")
                #expect(disk.problem?.contains("nearblock cancel \(machine.name)") == true)
            }
            if isCancelled {
                #expect(migration.disks[disks - 1].cancel(), "whoever gives it up is heard")
                for disk in migration.disks {
                    #expect(disk.problem?.contains("nearblock cancel") == false, "that has been done")
                    #expect(disk.problem?.contains("has been given up") == true)
                    #expect(disk.problem?.contains("make the state directory writable") == true)
                }
            }
            // Some attempts come to nothing meanwhile.
            let before = pair.files[0].operations.count
            try await waitUntil("it is tried again") { pair.files[0].operations.count > before + 4 }
            #expect(answered.withLockedValue { $0 } == 0, "a guest is served that may have moved")
            #expect(!pair.isServedThere)
            #expect(migration.disks.allSatisfy { $0.problem != nil && !$0.hasCommitted })
            pair.files[0].mend()
            if isCancelled {
                await #expect(throws: MigrationError.self) { try await moving.value }
                #expect(try pair.moved() == [false])
                #expect(!pair.isServedThere)
            } else {
                // Which of both comes to be certain first is as it happens.
                let hasMoved = (try? await moving.value) != nil
                #expect(try pair.moved() == [hasMoved])
                #expect(hasMoved ? pair.areAllServedThere : !pair.isServedThere)
                #expect(migration.disks.allSatisfy { $0.hasCommitted == hasMoved })
            }
            #expect(migration.disks.allSatisfy { $0.problem == nil })
            #expect(await reading.value)
            for link in pair.links.withLockedValue({ $0 }) { link.stop() }
        }
    }

    @Test(
        "A node that ends while a switchover is in doubt fails the guest's requests, and serves nobody",
        arguments: [1, 3])
    func endsInDoubt(disks: Int) async throws {
        let pair = try Pair("in doubt", disks: disks)
        pair.files[0].strike(.stays(EIO), after: "rename \(pair.word)")
        try await pair.destination.receiving { address in
            let migration = pair.guestMigration(to: address)
            let moving = Task { try await pair.run(migration) }
            try await waitUntil("it is in doubt") { migration.disks.allSatisfy { $0.problem != nil } }
            moving.cancel()
            await #expect(throws: (any Error).self) { try await moving.value }
            for machine in pair.machines {
                let finds = await machine.guest.finds(through: pair.source.client(machine.disk))
                #expect(!finds, "served in doubt")
            }
            #expect(!pair.isServedThere)
        }
    }
}
