import Block
import BlockModel
import Foundation
import NBD
import Synchronization
import TestSupport
import Testing

@testable import NBDServer

/// Sessions that move while something happens to the disk under them.
@Suite(.timeLimit(.minutes(10))) struct MovingDiskTests {
    private static let clients = 4
    private static let blocks = 64

    /// Writes and reads blocks of each client's own until `isOver`, and compares all that it reads.
    private func play(
        _ test: TestServer, until isOver: Atomic<Bool>.Box, trackedIn map: DirtyMap?, from isTracked: Atomic<Bool>.Box
    ) async throws {
        try await onThreads(Self.clients) { index in
            // A fence lasts for as long as the other tests of the run let this one wait.
            let client = try test.connect(seconds: 300)
            var written = [UInt8](repeating: 0, count: Self.blocks)
            var round = 0
            while !isOver.value.load(ordering: .relaxed) {
                round += 1
                let number = round % Self.blocks
                let block = index * Self.blocks + number
                written[number] = UInt8(truncatingIfNeeded: round / Self.blocks &* 7 &+ index)
                let mustBeMarked = isTracked.value.load(ordering: .acquiring)
                let bytes = [UInt8](repeating: written[number], count: 4096)
                guard try client.perform(.write(block * 4096, bytes)).error == 0 else {
                    throw Unexpected("a write failed")
                }
                if mustBeMarked, let map {
                    guard map.isDirty(UInt64(block)) else { throw Unexpected("block \(block) is not marked") }
                    // Only this client writes the blocks of this word, so that nothing but its next writes mark them again.
                    var cursor = UInt64(index * Self.blocks)
                    _ = map.take(from: &cursor, limit: 1)
                }
                let other = (number + 5) % Self.blocks
                let read = try client.perform(.read((index * Self.blocks + other) * 4096, 4096))
                guard read.bytes.allSatisfy({ $0 == written[other] }) else {
                    throw Unexpected("block \(other) of \(index)")
                }
                if round % 32 == 0, try client.perform(ClientRequest(type: ClientRequest.flush)).error != 0 {
                    throw Unexpected("a flush failed")
                }
            }
        }
    }

    private func run(
        trackedIn map: DirtyMap? = nil, _ body: (TestServer, _ isTracked: Atomic<Bool>.Box) async throws -> Void
    ) async throws {
        try await TestServer.run(size: Self.clients * Self.blocks * 4096, loops: 3) { test in
            let (isOver, isTracked) = (Atomic<Bool>.Box(), Atomic<Bool>.Box())
            let moves = try await Mover.run(test.server) {
                async let played: Void = play(test, until: isOver, trackedIn: map, from: isTracked)
                let result: Result<Void, any Error>
                do { result = .success(try await body(test, isTracked)) } catch { result = .failure(error) }
                isOver.value.store(true, ordering: .relaxed)
                try await played
                try result.get()
            }
            #expect(moves > 10)
        }
    }

    private func waitForMoves(_ test: TestServer) async throws {
        let moves = test.server.gate.count
        try await eventually("nothing moves") { test.server.gate.count > moves + 3 }
    }

    @Test("A fence while sessions move -> nothing is written until its end, and every request is answered after it")
    func fence() async throws {
        try await run { test, _ in
            for _ in 0..<30 {
                try await waitForMoves(test)
                await test.disk.fence()
                let before = try test.image
                try await test.runLoops(times: 20)
                let after = try test.image
                await test.disk.unfence()
                #expect(before == after)
            }
        }
    }

    @Test("A dirty map while sessions move -> every acknowledged write is in it")
    func tracking() async throws {
        let size = Self.clients * Self.blocks * 4096
        let map = DirtyMap(geometry: try #require(BlockGeometry(size: UInt64(size), blockSize: 4096)))
        try await run(trackedIn: map) { test, isTracked in
            await test.disk.track(map)
            isTracked.value.store(true, ordering: .releasing)
            for _ in 0..<30 { try await waitForMoves(test) }
        }
    }

    @Test("A switchover to another device while sessions move -> clients read what they have written, there too")
    func switchover() async throws {
        try await run { test, _ in
            for round in 0..<20 {
                try await waitForMoves(test)
                await test.disk.fence()
                let path = try test.scratch.write(try test.current(round), to: "disk-\(round).raw")
                await test.disk.replaceDevice(FileDevice(image: try RawImage(path: path, access: .readWrite)))
                await test.disk.unfence()
            }
        }
    }
}

extension Atomic<Bool> {
    /// A value that closures can share.
    final class Box: Sendable {
        let value = Atomic<Bool>(false)
    }
}

extension TestServer {
    /// The bytes of the image before a replacement of that number.
    fileprivate func current(_ round: Int) throws -> [UInt8] {
        try round == 0 ? image : scratch.contents("disk-\(round - 1).raw")
    }
}
