import Foundation
import Ring
import TestSupport
import Testing

@testable import Block
@testable import BlockModel

/// Images that bypass the page cache.
@Suite(.timeLimit(.minutes(10))) struct DirectAccessTests {
    private let scratch = Scratch()

    /// Several clients on both loops write, zero, trim and read bytes of their own. Others' bytes stand in the same
    /// sectors; none may get lost.
    @Test(arguments: [1, 2]) func concurrentWritesWithinASectorKeepAllBytes(loops: Int) async throws {
        var random = Seeded.fresh()
        let size = 64 << 10
        let clients = 6
        let contents = random.bytes(size)
        let path = try scratch.write(contents, to: "disk.raw")
        let seeds = (0..<clients).map { _ in random.next() }
        let image = try RawImage(path: path, access: .readOnly)
        #expect(image.direct == nil)
        let direct = try RawImage(path: path, access: .readWrite, isDirect: true)
        let device = FileDevice(image: direct)
        // The test's disk opens the file again to read the results; this object holds the lock.
        let reader = try scratch.hole(size, "other.raw")
        try await TestDisk.run(reader, loops: loops, device: device) { test in
            let models = try await withThrowingTaskGroup(of: (Int, [Int: UInt8]).self) { group in
                for index in 0..<clients {
                    group.addTask {
                        (index, try await Self.play(test.client(on: index % loops), index, clients, size, seeds[index]))
                    }
                }
                return try await group.reduce(into: [Int: UInt8]()) { $0.merge($1.1) { $1 } }
            }
            let bytes = try scratch.contents("disk.raw")
            #expect(models.allSatisfy { bytes[$0.key] == $0.value })
            for index in bytes.indices where models[index] == nil { #expect(bytes[index] == contents[index]) }
        }
    }

    /// Works on this client's slices of 100 to 700 bytes.
    private static func play(
        _ client: DiskClient, _ index: Int, _ clients: Int, _ size: Int, _ seed: UInt64
    ) async throws -> [Int: UInt8] {
        var random = Seeded(seed)
        var model: [Int: UInt8] = [:]
        let slice = 331
        for step in 0..<150 {
            let number = Int.random(in: 0..<size / slice / clients, using: &random) * clients + index
            let start = number * slice
            guard start + slice <= size else { continue }
            switch random.chance(60) {
            case true:
                let bytes = random.bytes(slice)
                #expect(await client.write(bytes, at: start, forced: random.chance(10)) == 0)
                for (offset, byte) in bytes.enumerated() { model[start + offset] = byte }
            case false:
                let kind: RequestKind = random.chance(50) ? .writeZeroes : .trim
                let error = await client.perform(kind, offset: UInt64(start), length: UInt64(slice))
                #expect(error == 0)
                for offset in 0..<slice { model[start + offset] = 0 }
            }
            let read = await client.read(slice, at: start)
            #expect(read.error == 0, "step \(step)")
            #expect(read.bytes.enumerated().allSatisfy { model[start + $0.offset] == $0.element }, "step \(step)")
        }
        return model
    }

    @Test func wholeSectorsBypassThePageCache() throws {
        var random = Seeded.fresh()
        let path = try scratch.write(random.bytes(1 << 20), to: "disk.raw")
        let image = try RawImage(path: path, access: .readWrite, isDirect: true)
        let direct = try #require(image.direct)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 8192, alignment: 4096)
        defer { memory.deallocate() }
        let loop = try EventLoop(index: 0)
        defer { loop.stop() }
        let disk = Disk(size: image.size, device: FileDevice(image: image), loops: [loop])
        let request = UnsafeMutablePointer<BlockRequest>.allocate(capacity: 1)
        defer { request.deallocate() }
        let owner = RecordingOwner()
        request.initialize(to: BlockRequest(owner: owner, port: disk.port(on: loop)))
        request.pointee.kind = .write
        request.pointee.buffer = memory
        for (offset, length, suits) in [(0, 4096, true), (4096, 8192, true), (1, 4096, false), (0, 100, false)] {
            request.pointee.offset = UInt64(offset)
            request.pointee.length = UInt64(length)
            #expect(direct.suits(request) == suits)
            #expect(direct.claim(of: request)?.isExclusive == !suits)
        }
        request.pointee.offset = 0
        request.pointee.length = 4096
        request.pointee.buffer = memory + 1
        #expect(!direct.suits(request))
    }

    @Test func anImageOfPartialSectorsIsRefused() throws {
        let path = try scratch.hole(1_000_001, "odd.raw")
        let error = #expect(throws: FileError.self) { try RawImage(path: path, access: .readWrite, isDirect: true) }
        #expect("\(error!)".contains("sectors") && "\(error!)".contains("1000001"))
        // The failed attempt must not have locked the file.
        _ = try RawImage(path: path, access: .readWrite)
    }

    @Test func overlappingClaimsWaitInOrder() {
        let claims = RangeClaims()
        let order = Order()
        func claim(_ range: Range<UInt64>, _ isExclusive: Bool) -> RangeClaims.Claim {
            RangeClaims.Claim(range: range, isExclusive: isExclusive)
        }
        let shared = claim(0..<10, false)
        let exclusive = claim(5..<6, true)
        let late = claim(0..<20, false)
        #expect(claims.take(shared) { order.record(0) })
        #expect(claims.take(shared) { order.record(1) })
        #expect(!claims.take(exclusive) { order.record(2) })
        // The claim would fit beside the granted ones, but not ahead of the one that waits.
        #expect(!claims.take(late) { order.record(3) })
        #expect(claims.take(claim(100..<200, true)) { order.record(4) })
        claims.give(shared)
        #expect(order.numbers.isEmpty)
        claims.give(shared)
        #expect(order.numbers == [2])
        claims.give(exclusive)
        #expect(order.numbers == [2, 3])
    }

    private final class Order: @unchecked Sendable {
        private(set) var numbers: [Int] = []
        func record(_ number: Int) { numbers.append(number) }
    }
}
