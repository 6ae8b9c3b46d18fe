import BlockModel
import Foundation
import Glibc
import MigrationCore
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Peer
import TestSupport
import Testing

@testable import Block
@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// A guest's memory between two nodes and two hypervisors, which are sockets of the test.
@Suite struct MemoryRelayTests {
    private let nodes: RelayingNodes

    init() throws { nodes = try RelayingNodes() }

    @Test func noDisks_bytesArriveAsTheyWere() async throws {
        var random = Seeded.fresh()
        let stream = random.bytes(3 << 20) + [UInt8](repeating: 0, count: 1 << 20) + random.bytes(777)
        try await nodes.relaying(.standing([])) { here, there async throws in
            async let came = there.read()
            #expect(try await here.write(stream))
            here.endWriting()
            let bytes = try await came
            #expect(bytes == stream)
        }
    }

    @Test func pagesOfAStandingDisk_areNamed() async throws {
        var random = Seeded.fresh()
        let (stream, pages) = try nodes.streamOfDisk(&random, as: MadeMemory.stream(of:))
        let status = try await nodes.move(stream)
        #expect(status.disk == UInt64(pages * StreamPart.pageBytes))
        #expect(status.link == 0)
        #expect(status.wire < UInt64(stream.count / 10))
    }

    @Test func aDiskThatDiffersThere_isSentAsBytes() async throws {
        var random = Seeded.fresh()
        let (stream, _) = try nodes.streamOfDisk(&random, as: MadeMemory.stream(of:)) { image in
            let block = [UInt8](repeating: 7, count: StreamPart.pageBytes)
            try block.withUnsafeBytes { try image.write($0, at: UInt64(40 * StreamPart.pageBytes)) }
        }
        // `move` compares every byte.
        let status = try await nodes.move(stream)
        #expect(status.disk > 0, "nothing was referred to, so nothing was wrong")
    }

    @Test func bytesOfTheHypervisorThere_comeBack() async throws {
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1, 2, 3]))
            #expect(try await there.read(3) == [1, 2, 3])
            #expect(try await there.write([9, 8]))
            #expect(try await here.read(2) == [9, 8])
            // It says more only once it has been answered.
            #expect(try await here.write([4]))
            #expect(try await there.read(1) == [4])
        }
    }

    @Test func theHypervisorThereAnswersAfterTheEnd_theAnswerComes() async throws {
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1, 2, 3]))
            here.endWriting()
            #expect(try await there.read() == [1, 2, 3])
            #expect(try await there.write([9]))
            #expect(try await here.read(1) == [9])
            #expect(try await there.write([8, 7]))
            there.hangUp()
            #expect(try await here.read() == [8, 7])
        }
    }

    @Test func theHypervisorHereHangsUpAfterTheEnd_nobodyWaitsForTheOneThere() async throws {
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1, 2, 3]))
            here.endWriting()
            #expect(try await there.read() == [1, 2, 3])
            // `relaying` hangs up here, and waits for the end.
        }
    }

    @Test func theHypervisorThereHangsUp_theOneHereIsToldByAHangUp() async throws {
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1]))
            #expect(try await there.read(1) == [1])
            there.hangUp()
            var random = Seeded.fresh()
            let bytes = random.bytes(1 << 20)
            while try await here.write(bytes) {}
            #expect(try await here.read().isEmpty)
        }
    }

    @Test func theHypervisorThereHangsUpWithUnreadBytes_theOneHereIsToldByAHangUp() async throws {
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1, 2]))
            #expect(try await there.read(1) == [1])
            // The kernel tells the node there of a reset, and not of an end.
            there.hangUp()
            #expect(try await here.read().isEmpty)
        }
    }

    @Test func theHypervisorHereHangsUpWithUnreadBytes_theOneThereGetsAnEnd() async throws {
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1]))
            #expect(try await there.read(1) == [1])
            #expect(try await there.write([8, 9]))
            #expect(try await here.read(1) == [8])
            here.hangUp()
            #expect(try await there.read().isEmpty)
        }
    }

    @Test func manyConnections_shareOneIndex() async throws {
        var random = Seeded.fresh()
        let (stream, pages) = try nodes.streamOfDisk(&random, as: MadeMemory.stream(of:))
        let status = try await nodes.relayingDisk { here, there async throws in
            async let came = there.read()
            #expect(try await here.write(stream))
            var others: [Hypervisor] = []
            for _ in 1..<PeerLimits.memoriesPerPeer { others.append(try await Hypervisor.connect(to: nodes.socket)) }
            let surplus = try await Hypervisor.connect(to: nodes.socket)
            #expect(try await surplus.read().isEmpty, "the destination takes no more")
            for other in others { other.hangUp() }
            here.endWriting()
            let bytes = try await came
            #expect(bytes == stream)
        }
        #expect(status.disk == UInt64(pages * StreamPart.pageBytes))
    }

    @Test func theNodeThereCantKeepPages_refusesAndLetsItsHypervisorGo() async throws {
        let waiting = Hypervisor.listen(at: "\(nodes.folder)/guest.sock")
        defer { close(waiting) }
        try await nodes.destination.receiving(memory: try MemoryDirectory(path: nodes.folder)) { address in
            try FileManager.default.removeItem(atPath: nodes.destination.state.scratch)
            try await nodes.listening(to: address, .standing([])) { relay async throws in
                let here = try await Hypervisor.connect(to: nodes.socket)
                let there = try await Hypervisor.accept(on: waiting)
                #expect(try await here.read().isEmpty)
                #expect(try await there.read().isEmpty)
                await relay.waitUntilIdle()
                #expect(relay.status.state == .failed)
            }
        }
    }

    /// As after a cut link: `GuestMigration` makes others.
    @Test func theDisksMigrationsAreReplaced_theHypervisorWaitsForThoseOfNow() async throws {
        var random = Seeded.fresh()
        let (stream, pages) = try nodes.streamOfDisk(&random, as: MadeMemory.stream(of:))
        let image = nodes.source.arrivedImages.withLockedValue { $0["disk"]! }
        let theirs = nodes.destination.arrivedImages.withLockedValue { $0["disk"]! }
        let agreed = try await StandingDisk(name: "disk", image: image).scan(
            in: nodes.source.state.scratch, on: nodes.source.pools.background)
        let unconfirmed = AgreedDisk(
            name: agreed.name, manifest: agreed.manifest, dirtyMap: DirtyMap(geometry: agreed.geometry))
        // Only what they have agreed on counts.
        let (disk, other) = try nodes.source.makeDisk("other", size: 8192, &random)
        let migrations = [unconfirmed, agreed].map { agreed in
            let migration = nodes.source.migration(of: disk, other, to: PeerAddress(host: "127.0.0.1", port: 1))
            migration.state.withLockedValue { $0.agreed = agreed }
            return migration
        }
        let current = NIOLockedValueBox(migrations[0])
        let asked = NIOLockedValueBox(0)
        let disks = MemoryRelay.Disks.moving {
            asked.withLockedValue { $0 += 1 }
            return [current.withLockedValue { $0 }]
        }
        let waiting = Hypervisor.listen(at: "\(nodes.folder)/guest.sock")
        defer { close(waiting) }
        try await nodes.destination.receiving(memory: try MemoryDirectory(path: nodes.folder)) { address in
            nodes.destination.arrivedImages.withLockedValue { $0["disk"] = theirs }
            try await nodes.listening(to: address, disks) { relay async throws in
                let here = try await Hypervisor.connect(to: nodes.socket)
                // It knows the first by then.
                try await waitUntil("the relay looks at the disks") { asked.withLockedValue { $0 } > 1 }
                current.withLockedValue { $0 = migrations[1] }
                let there = try await Hypervisor.accept(on: waiting)
                async let came = there.read()
                #expect(try await here.write(stream))
                here.endWriting()
                let bytes = try await came
                #expect(bytes == stream)
                here.hangUp()
                await relay.waitUntilIdle()
                #expect(relay.status.disk == UInt64(pages * StreamPart.pageBytes))
            }
        }
    }

    @Test func theHypervisorHereHangsUpInTheMiddle_theOneThereGetsAnEnd() async throws {
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1, 2]))
            #expect(try await there.read(2) == [1, 2])
            here.hangUp()
            #expect(try await there.read().isEmpty)
        }
    }

    @Test func nobodyWaitsThere_isSaidAndTheHypervisorHereIsLetGo() async throws {
        try await nodes.destination.receiving(memory: try MemoryDirectory(path: nodes.folder)) { address in
            try await nodes.listening(to: address, .standing([])) { relay async throws in
                let here = try await Hypervisor.connect(to: nodes.socket)
                #expect(try await here.read().isEmpty)
                await relay.waitUntilIdle()
                #expect(relay.status.problem?.contains("no hypervisor waits there for the memory of 'guest'") == true)
            }
        }
    }

    @Test func aNodeWithoutAMemoryDirectory_refuses() async throws {
        try await nodes.destination.receiving { address in
            try await nodes.listening(to: address, .standing([])) { relay async throws in
                let here = try await Hypervisor.connect(to: nodes.socket)
                #expect(try await here.read().isEmpty)
                await relay.waitUntilIdle()
                #expect(relay.status.problem?.contains("--memory-dir") == true)
            }
        }
    }

    // MARK: The folder

    @Test(arguments: ["../guest", ".guest", "", "a/b", "a\u{7}b"])
    func namesThatAreNoNames_areRefused(name: String) async throws {
        let directory = try MemoryDirectory(path: nodes.folder)
        try FileManager.default.createDirectory(
            atPath: "\(nodes.folder)/a", withIntermediateDirectories: true)
        // Somebody listens there.
        let waiting = Hypervisor.listen(at: "\(nodes.folder)/\(name).sock")
        defer { close(waiting) }
        await #expect(throws: MigrationError.self) { try await directory.withSocket(of: name) { _ in } }
    }

    @Test func aLinkInTheFolder_isNotFollowed() async throws {
        let elsewhere = nodes.destination.scratch.file("other.sock")
        close(Hypervisor.listen(at: elsewhere))
        try FileManager.default.createSymbolicLink(atPath: "\(nodes.folder)/guest.sock", withDestinationPath: elsewhere)
        let directory = try MemoryDirectory(path: nodes.folder)
        await #expect(throws: MigrationError.self) { try await directory.withSocket(of: "guest") { _ in } }
    }

    @Test func aFolderThatOthersMayWriteTo_isRefused() throws {
        chmod(nodes.folder, 0o777)
        #expect(throws: MigrationError.self) { try MemoryDirectory(path: nodes.folder) }
    }
}
