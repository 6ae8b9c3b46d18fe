import Foundation
import Glibc
import MigrationCore
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
    private let guest: RelayedGuest

    init() throws { guest = try RelayedGuest() }

    @Test func noDisks_bytesArriveAsTheyWere() async throws {
        var random = Seeded.fresh()
        let stream = random.bytes(3 << 20) + [UInt8](repeating: 0, count: 1 << 20) + random.bytes(777)
        try await guest.relaying(.standing([])) { here, there async throws in
            async let came = there.read()
            #expect(try await here.write(stream))
            here.endWriting()
            let bytes = try await came
            #expect(bytes == stream)
        }
    }

    @Test func pagesOfAStandingDisk_areNamed() async throws {
        var random = Seeded.fresh()
        let (stream, pages) = try streamOfDisk(&random)
        let status = try await move(stream)
        #expect(status.disk == UInt64(pages * StreamPart.pageBytes))
        #expect(status.link == 0)
        #expect(status.wire < UInt64(stream.count / 10))
    }

    @Test func aDiskThatDiffersThere_isSentAsBytes() async throws {
        var random = Seeded.fresh()
        let (stream, _) = try streamOfDisk(&random) { image in
            let block = [UInt8](repeating: 7, count: StreamPart.pageBytes)
            try block.withUnsafeBytes { try image.write($0, at: UInt64(40 * StreamPart.pageBytes)) }
        }
        // `move` compares every byte.
        _ = try await move(stream)
    }

    @Test func bytesOfTheHypervisorThere_comeBack() async throws {
        try await guest.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1, 2, 3]))
            #expect(try await there.read(3) == [1, 2, 3])
            #expect(try await there.write([9, 8]))
            #expect(try await here.read(2) == [9, 8])
            // It says more only once it has been answered.
            #expect(try await here.write([4]))
            #expect(try await there.read(1) == [4])
        }
    }

    @Test func theHypervisorThereHangsUp_theOneHereIsToldByAHangUp() async throws {
        try await guest.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1]))
            #expect(try await there.read(1) == [1])
            there.hangUp()
            var random = Seeded.fresh()
            let bytes = random.bytes(1 << 20)
            while try await here.write(bytes) {}
            #expect(try await here.read().isEmpty)
        }
    }

    @Test func theHypervisorHereHangsUpInTheMiddle_theOneThereGetsAnEnd() async throws {
        try await guest.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write([1, 2]))
            #expect(try await there.read(2) == [1, 2])
            here.hangUp()
            #expect(try await there.read().isEmpty)
        }
    }

    @Test func nobodyWaitsThere_isSaidAndTheHypervisorHereIsLetGo() async throws {
        try await guest.destination.receiving(memory: try MemoryDirectory(path: guest.folder)) { address in
            try await guest.listening(to: address, .standing([])) { relay async throws in
                let here = try await Hypervisor.connect(to: guest.socket)
                #expect(try await here.read().isEmpty)
                await relay.waitUntilIdle()
                #expect(relay.status.problem?.contains("no hypervisor waits there for the memory of 'guest'") == true)
            }
        }
    }

    @Test func aNodeWithoutAMemoryDirectory_refuses() async throws {
        try await guest.destination.receiving { address in
            try await guest.listening(to: address, .standing([])) { relay async throws in
                let here = try await Hypervisor.connect(to: guest.socket)
                #expect(try await here.read().isEmpty)
                await relay.waitUntilIdle()
                #expect(relay.status.problem?.contains("--memory-dir") == true)
            }
        }
    }

    // MARK: The folder

    @Test(arguments: ["../guest", ".guest", "", "a/b", "a\u{7}b"])
    func namesThatAreNoNames_areRefused(name: String) async throws {
        let directory = try MemoryDirectory(path: guest.folder)
        await #expect(throws: MigrationError.self) { try await directory.withSocket(of: name) { _ in } }
    }

    @Test func aLinkInTheFolder_isNotFollowed() async throws {
        let elsewhere = guest.destination.scratch.file("other.sock")
        close(Hypervisor.listen(at: elsewhere))
        try FileManager.default.createSymbolicLink(atPath: "\(guest.folder)/guest.sock", withDestinationPath: elsewhere)
        let directory = try MemoryDirectory(path: guest.folder)
        await #expect(throws: MigrationError.self) { try await directory.withSocket(of: "guest") { _ in } }
    }

    @Test func aFolderThatOthersMayWriteTo_isRefused() throws {
        chmod(guest.folder, 0o777)
        #expect(throws: MigrationError.self) { try MemoryDirectory(path: guest.folder) }
    }

    // MARK: What the tests share

    /// A stream whose pages are those of a disk that both nodes have.
    private func streamOfDisk(
        _ random: inout Seeded, changing change: (RawImage) throws -> Void = { _ in }
    ) throws -> (stream: [UInt8], pages: Int) {
        let count = 256
        let bytes = random.bytes(count * StreamPart.pageBytes)
        try guest.makeDisk(bytes, changing: change)
        return (MadeMemory.stream(of: bytes), count)
    }

    /// Moves a stream beside the disk `disk`, and compares what comes out.
    private func move(_ stream: [UInt8]) async throws -> MemoryStatus {
        try await guest.relaying(guest.disks) { here, there async throws in
            async let came = there.read()
            #expect(try await here.write(stream))
            here.endWriting()
            let bytes = try await came
            #expect(bytes == stream)
        }
    }
}
