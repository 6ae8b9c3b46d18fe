import Glibc
import MigrationCore
import TestSupport
import Testing

@testable import Block
@testable import Migration

/// The memory of a guest that runs at the destination already.
@Suite("A relay in post-copy", .timeLimit(.minutes(5)))
struct PostCopyRelayTests {
    private let page = StreamPart.pageBytes

    @Test("The other hypervisor reads nothing -> less than 1 MiB is between the two, ahead of a page that is asked for")
    func holdsLittle() async throws {
        var random = Seeded.fresh()
        let beginning = MadeMemory.postCopy(of: 64 << 20)
        let section = MadeMemory.section(of: random.bytes(200 * page))
        var nodes = try RelayingNodes()
        nodes.rate = 80_000_000
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write(beginning))
            #expect(try await there.read(beginning.count) == beginning)
            // In pre-copy it is more than 3 MiB.
            let held = try await here.fill(section, limit: 8 << 20)
            #expect(held > 0 && held < 1 << 20)
            there.hangUp()
        }
    }

    @Test("A page alone -> it is given to the other hypervisor while nothing follows")
    func pageAlone() async throws {
        var random = Seeded.fresh()
        let nodes = try RelayingNodes()
        let beginning = MadeMemory.postCopy(of: 1 << 20)
        try await nodes.relaying(.standing([])) { here, there async throws in
            #expect(try await here.write(beginning))
            #expect(try await there.read(beginning.count) == beginning)
            for _ in 0..<5 {
                let section = MadeMemory.section(of: random.bytes(page))
                // The word that ends the section does not come yet.
                let piece = Array(section.dropLast(13))
                #expect(try await here.write(piece))
                #expect(try await there.read(piece.count) == piece)
                #expect(try await here.write(Array(section.suffix(13))))
                #expect(try await there.read(13).count == 13)
            }
        }
    }

    @Test("The guest there has written to its disk meanwhile -> its pages are repaired, and each is what was sent")
    func changedBlock() async throws {
        var random = Seeded.fresh()
        let bytes = random.bytes(64 * page)
        let nodes = try RelayingNodes()
        try nodes.makeDisk(bytes)
        let theirs = nodes.destination.arrivedImages.withLockedValue { $0["disk"]! }
        let beginning = MadeMemory.postCopy(of: bytes.count)
        let section = MadeMemory.section(of: bytes)
        let status = try await nodes.relayingDisk { here, there async throws in
            #expect(try await here.write(beginning))
            #expect(try await there.read(beginning.count) == beginning)
            let block = [UInt8](repeating: 7, count: page)
            try block.withUnsafeBytes { try theirs.write($0, at: UInt64(9 * page)) }
            #expect(try await here.write(section))
            here.endWriting()
            #expect(try await there.read() == section)
        }
        #expect(status.disk == UInt64(bytes.count) && status.link == 0)
    }

    @Test("Ten connections at once -> they reach the other hypervisor in their order")
    func order() async throws {
        let nodes = try RelayingNodes()
        let waiting = Hypervisor.listen(at: "\(nodes.folder)/guest.sock")
        defer { close(waiting) }
        let numbers = Array<UInt8>(0..<10)
        try await nodes.destination.receiving(memory: try MemoryDirectory(path: nodes.folder)) { address in
            try await nodes.listening(to: address, .standing([])) { relay async throws in
                var here: [Hypervisor] = []
                for number in numbers {
                    here.append(try await Hypervisor.connect(to: nodes.socket))
                    #expect(try await here.last!.write([number]))
                }
                var came: [UInt8] = []
                for _ in numbers { came += try await Hypervisor.accept(on: waiting).read(1) }
                #expect(came == numbers)
                for each in here { each.hangUp() }
                await relay.waitUntilIdle()
            }
        }
    }
}
