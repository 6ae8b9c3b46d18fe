import Foundation
import TestSupport
import Testing

@testable import Block
@testable import BlockModel

@Suite(.timeLimit(.minutes(10))) struct FileDeviceTests {
    private let scratch = Scratch()

    /// A memory file system can't allocate zeros, so zeros are written there.
    @Test(arguments: [1, 511, 4097, 1_000_003], [NSTemporaryDirectory(), "/dev/shm"])
    func randomRequestsAgreeWithTheModel(size: Int, place: String) async throws {
        var random = Seeded.fresh()
        let scratch = Scratch(in: place)
        var model = random.bytes(size)
        let path = try scratch.write(model, to: "disk.raw")
        let seed = random.next()
        try await TestDisk.run(path) { test in
            var random = Seeded(seed)
            let client = test.client()
            for step in 0..<200 {
                let start = Int.random(in: 0...size, using: &random)
                let longest = random.chance(10) ? size : 10_000
                let end = Int.random(in: start...min(size, start + longest), using: &random)
                let forced = random.chance(30)
                let (offset, length) = (UInt64(start), UInt64(end - start))
                var error: CInt = 0
                switch Int.random(in: 0..<6, using: &random) {
                case 0, 1:
                    let bytes = random.bytes(end - start)
                    error = await client.write(bytes, at: start, forced: forced)
                    model.replaceSubrange(start..<end, with: bytes)
                case 2:
                    error = await client.perform(.trim, offset: offset, length: length, forced: forced)
                    model.replaceSubrange(start..<end, with: repeatElement(0, count: end - start))
                case 3:
                    error = await client.perform(
                        .writeZeroes, offset: offset, length: length, forced: forced,
                        mayPunchHole: random.chance(50))
                    model.replaceSubrange(start..<end, with: repeatElement(0, count: end - start))
                case 4:
                    error = await client.perform(.flush)
                default:
                    let read = await client.read(end - start, at: start)
                    error = read.error
                    #expect(read.bytes == Array(model[start..<end]), "step \(step)")
                }
                #expect(error == 0, "step \(step)")
            }
            let all = try test.image.bytes(0..<size)
            #expect(all == model)
            #expect(try test.image.stamp().size == UInt64(size))
        }
    }

    @Test func rangesOutsideTheDiskAreRefused() async throws {
        try await TestDisk.run(try scratch.hole(1000, "disk.raw")) { test in
            let client = test.client()
            for kind in [RequestKind.read, .write, .trim, .writeZeroes] {
                for (offset, length) in [(0, 1001), (1000, 1), (1001, 0), (.max, 1), (1, .max)]
                    as [(UInt64, UInt64)]
                {
                    let error = await client.perform(kind, offset: offset, length: length)
                    #expect(error == EINVAL)
                }
            }
        }
    }

    @Test func readsOfATruncatedFileFail() async throws {
        let path = try scratch.write([UInt8](repeating: 1, count: 10_000), to: "disk.raw")
        try await TestDisk.run(path) { test in
            truncate(path, 5000)
            let client = test.client()
            let whole = await client.read(10_000, at: 0)
            #expect(whole.error == EIO)
            let beyond = await client.read(100, at: 6000)
            #expect(beyond.error == EIO)
            let before = await client.read(5000, at: 0)
            #expect(before.error == 0 && before.bytes.allSatisfy { $0 == 1 })
            let cached = await test.loops[0].perform {
                let memory = Memory([UInt8](repeating: 0, count: 2000))
                return test.disk.port(on: test.loops[0]).readIfCached(
                    into: memory.base, length: 2000, at: 4000)
            }
            #expect(cached == 1000, "as far as the file goes")
        }
    }

    /// Mounting needs rights, as root has in a container.
    @Test(.enabled(if: SmallFileSystem.isPossible)) func aFullFileSystemGivesENOSPC() async throws {
        let small = try SmallFileSystem(on: scratch.file("small"))
        defer { small.unmount() }
        let path = small.path + "/disk.raw"
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        truncate(path, 4 << 20)
        try await TestDisk.run(path) { test in
            let client = test.client()
            let full = await client.write([UInt8](repeating: 1, count: 2 << 20), at: 0)
            #expect(full == ENOSPC)
            let zeros = await client.perform(
                .writeZeroes, offset: 2 << 20, length: 2 << 20, mayPunchHole: false)
            #expect(zeros == ENOSPC)
            let freed = await client.perform(.trim, offset: 0, length: 4 << 20)
            #expect(freed == 0)
            let again = await client.write([1, 2, 3], at: 3 << 20)
            #expect(again == 0)
        }
    }

    @Test func trimsAndZerosMakeHolesUnlessForbidden() async throws {
        let path = try scratch.write([UInt8](repeating: 1, count: 4 << 20), to: "disk.raw")
        try await TestDisk.run(path) { test in
            let client = test.client()
            let full = test.allocated
            #expect(full >= 4 << 20)
            let trimmed = await client.perform(.trim, offset: 0, length: 1 << 20)
            let afterTrim = test.allocated
            let zeroed = await client.perform(.writeZeroes, offset: 1 << 20, length: 1 << 20)
            let afterZeroes = test.allocated
            #expect(trimmed == 0 && afterTrim <= full - 1 << 20)
            #expect(zeroed == 0 && afterZeroes <= full - 2 << 20)
            let kept = await client.perform(
                .writeZeroes, offset: 0, length: 4 << 20, mayPunchHole: false)
            #expect(kept == 0 && test.allocated >= 4 << 20)
            let bytes = try test.image.bytes(0..<4 << 20)
            #expect(bytes.allSatisfy { $0 == 0 })
        }
    }

    @Test func requestsBeyondFourGigabytesAreServed() async throws {
        try await TestDisk.run(try scratch.hole(6 << 30, "disk.raw")) { test in
            let client = test.client()
            let written = await client.write([1, 2, 3], at: 5 << 30)
            #expect(written == 0)
            let read = await client.read(5, at: 5 << 30 - 1)
            #expect(read.bytes == [0, 1, 2, 3, 0])
            let zeroed = await client.perform(.writeZeroes, offset: 1, length: 6 << 30 - 1)
            #expect(zeroed == 0)
            let again = await client.read(5, at: 5 << 30 - 1)
            #expect(again.bytes == [0, 0, 0, 0, 0] && test.allocated < 100_000)
        }
    }
}
