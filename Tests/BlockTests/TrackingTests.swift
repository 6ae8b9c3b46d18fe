import Foundation
import NIOConcurrencyHelpers
import Synchronization
import TestSupport
import Testing

@testable import Block
@testable import BlockModel

/// Invariant 1: a write is acknowledged when it has reached the backing and its blocks are in the dirty map.
@Suite(.timeLimit(.minutes(10))) struct TrackingTests {
    private let scratch = Scratch()
    private let geometry = BlockGeometry(size: 1 << 20, blockSize: 4096)

    @Test func ownersAreCalledAfterTheWriteAndTheMark() async throws {
        let map = DirtyMap(geometry: try #require(geometry))
        try await TestDisk.run(try scratch.hole(1 << 20, "disk.raw")) { test in
            await test.disk.track(map)
            let owner = RecordingOwner { request in
                let range = Int(request.pointee.offset)..<Int(request.pointee.offset + request.pointee.length)
                let blocks = range.lowerBound / 4096...(range.upperBound - 1) / 4096
                return request.pointee.error == 0 && blocks.allSatisfy { map.isDirty(UInt64($0)) }
                    && (try? test.image.bytes(range))?.allSatisfy { $0 == 7 } == true
            }
            var random = Seeded.fresh()
            var offsets: [Int] = []
            for number in 0..<64 {
                // No two requests share a block, so every mark belongs to one of them.
                let offset = number * 16_384 + Int.random(in: 0..<4096, using: &random)
                let bytes = [UInt8](repeating: 7, count: Int.random(in: 1...12_000, using: &random))
                offsets.append(offset)
                await test.loops[0].perform {
                    owner.submit(.write, at: offset, bytes: bytes, to: test.disk.port(on: test.loops[0]))
                }
            }
            await test.disk.fence()
            #expect(owner.failed.all == [])
            #expect(owner.ended.all.sorted() == offsets)
            await test.disk.unfence()
        }
    }

    @Test func everyFollowingMapGetsEveryWrite() async throws {
        let maps = try (0..<3).map { _ in DirtyMap(geometry: try #require(geometry)) }
        try await TestDisk.run(try scratch.hole(1 << 20, "disk.raw")) { test in
            let owner = RecordingOwner { _ in true }
            func write(_ block: Int) async {
                await test.loops[0].perform {
                    owner.submit(.write, at: block * 4096, bytes: [1], to: test.disk.port(on: test.loops[0]))
                }
                await test.disk.fence()
                await test.disk.unfence()
            }
            await test.disk.track(maps[0])
            await test.disk.follow(maps[1])
            await test.disk.follow(maps[2])
            await test.disk.follow(maps[2])
            await write(1)
            #expect(maps.map { $0.count() } == [1, 1, 1])
            // The ends of different trackings do not affect each other.
            await test.disk.track(nil)
            await write(2)
            #expect(maps.map { $0.count() } == [1, 2, 2])
            await test.disk.track(maps[0])
            await test.disk.unfollow(maps[1])
            await write(3)
            #expect(maps.map { $0.count() } == [2, 2, 3])
            // A write that is done at once is tracked, too.
            let bytes = [UInt8](repeating: 2, count: 4096)
            await test.loops[0].perform {
                let port = test.disk.port(on: test.loops[0])
                let error = bytes.withUnsafeBytes {
                    port.writeAtOnce(from: $0.baseAddress!, length: 4096, at: 5 * 4096)
                }
                #expect(error == 0)
            }
            #expect(maps.map { $0.count() } == [3, 2, 4])
            await test.disk.unfollow(maps[2])
            await write(4)
            #expect(maps.map { $0.count() } == [4, 2, 4])
        }
    }

    @Test(arguments: [0, EIO, ENOSPC]) func failedWritesAreMarkedToo(error: CInt)
        async throws
    {
        let map = DirtyMap(geometry: try #require(geometry))
        let device = HandDevice()
        try await TestDisk.run(try scratch.hole(1 << 20, "disk.raw"), device: device) { test in
            await test.disk.track(map)
            for (number, kind) in [RequestKind.write, .trim, .writeZeroes].enumerated() {
                let owner = RecordingOwner { $0.pointee.error == error && map.count() == 1 }
                await test.loops[0].perform {
                    owner.submit(kind, at: number * 4096, to: test.disk.port(on: test.loops[0]))
                }
                #expect(map.count() == 0 && owner.ended.all == [])
                device.endAll(error: error)
                await test.loops[0].perform {}
                #expect(owner.ended.all == [number * 4096])
                var cursor: UInt64 = 0
                #expect(map.take(from: &cursor, limit: .max) == [UInt64(number)])
            }
        }
    }

    @Test func readsAndFlushesMarkNothing() async throws {
        let map = DirtyMap(geometry: try #require(geometry))
        try await TestDisk.run(try scratch.hole(1 << 20, "disk.raw")) { test in
            await test.disk.track(map)
            let read = await test.client().read(1 << 20, at: 0)
            let flushed = await test.client().perform(.flush)
            #expect(read.error == 0 && flushed == 0 && map.count() == 0)
        }
    }

    @Test func writesInFlightWhenTrackingBeginsAreMarked() async throws {
        let map = DirtyMap(geometry: try #require(geometry))
        let device = HandDevice()
        try await TestDisk.run(try scratch.hole(1 << 20, "disk.raw"), device: device) { test in
            async let error = test.client().write([1], at: 8192)
            try await device.waitFor(1)
            await test.disk.track(map)
            device.endAll()
            let ended = await error
            #expect(ended == 0 && map.isDirty(2) && map.count() == 1)
            await test.disk.track(nil)
            async let untracked = test.client().write([1], at: 0)
            try await device.waitFor(2)
            device.endAll()
            let endedToo = await untracked
            #expect(endedToo == 0 && map.count() == 1)
        }
    }

    /// Writers on two loops run against a copier that clears a bit and then reads the block.
    @Test func aCopyByTheDirtyMapEndsIdentical() async throws {
        var random = Seeded.fresh()
        for _ in 0..<5 {
            // The disk has few blocks, so that the copier meets the writers.
            let size = 10 * 4096 + 100
            let map = DirtyMap(geometry: try #require(BlockGeometry(size: UInt64(size), blockSize: 4096)))
            let seeds = (0..<4).map { _ in random.next() }
            let scratch = Scratch()
            try await TestDisk.run(try scratch.hole(size, "disk.raw"), loops: 2) { test in
                await test.disk.track(map)
                let copy = Copy(of: test.image, map: map)
                let isDone = Atomic<Bool>(false)
                async let copied: Void = onThread {
                    while !isDone.load(ordering: .acquiring) { try copy.round() }
                }
                let errors = await withTaskGroup(of: CInt.self) { group in
                    for writer in 0..<4 {
                        group.addTask {
                            await Self.write(400, to: test.client(on: writer % 2), size, seeds[writer])
                        }
                    }
                    return await group.reduce(0, |)
                }
                isDone.store(true, ordering: .releasing)
                try await copied
                await test.disk.fence()
                try copy.round()
                await test.disk.unfence()
                #expect(errors == 0)
                #expect(try copy.bytes == scratch.contents("disk.raw"))
            }
        }
    }

    private static func write(_ count: Int, to client: DiskClient, _ size: Int, _ seed: UInt64) async -> CInt {
        var random = Seeded(seed)
        var errors: CInt = 0
        for _ in 0..<count {
            let start = Int.random(in: 0..<size, using: &random)
            let length = Int.random(in: 1...min(9000, size - start), using: &random)
            if random.chance(80) {
                errors |= await client.write(random.bytes(length), at: start)
            } else {
                errors |= await client.perform(.writeZeroes, offset: UInt64(start), length: UInt64(length))
            }
        }
        return errors
    }
}

/// A short form of a migration's source.
private final class Copy: Sendable {
    private let image: RawImage
    private let map: DirtyMap
    private let contents: NIOLockedValueBox<[UInt8]>

    init(of image: RawImage, map: DirtyMap) {
        self.image = image
        self.map = map
        contents = NIOLockedValueBox([UInt8](repeating: 0, count: Int(image.size)))
    }

    var bytes: [UInt8] { contents.withLockedValue { $0 } }

    func round() throws {
        var cursor: UInt64 = 0
        while cursor < map.geometry.blockCount {
            for block in map.take(from: &cursor, limit: 64) {
                let range = map.geometry.bytes(of: block..<block + 1)
                let bytes = try image.bytes(Int(range.lowerBound)..<Int(range.upperBound))
                contents.withLockedValue {
                    $0.replaceSubrange(Int(range.lowerBound)..<Int(range.upperBound), with: bytes)
                }
            }
        }
    }
}
