import Foundation
import TestSupport
import Testing

@testable import Block

/// Block devices, with and without the page cache.
@Suite(.timeLimit(.minutes(10)), .serialized, .enabled(if: LoopDevice.isPossible)) struct BlockDeviceTests {
    private let scratch = Scratch()

    @Test(arguments: [512, 4096], [false, true]) func randomRequestsAgreeWithTheModel(sectorSize: Int, isDirect: Bool)
        async throws
    {
        var random = Seeded.fresh()
        let size = 1 << 20
        var model = random.bytes(size)
        let file = try scratch.write(model, to: "backing.raw")
        let device = try await LoopDevice(file: file, sectorSize: sectorSize)
        let image = try RawImage(path: device.path, access: .readWrite, isDirect: isDirect)
        #expect(image.isBlockDevice && image.size == UInt64(size))
        let seed = random.next()
        try await TestDisk.run(try scratch.hole(size, "other.raw"), device: FileDevice(image: image)) { test in
            var random = Seeded(seed)
            let client = test.client()
            for step in 0..<150 {
                let unit = random.chance(50) ? 1 : 4096
                let start = Int.random(in: 0...(size - 40_000) / unit, using: &random) * unit
                let count = Int.random(in: 1...32_000 / unit, using: &random) * unit
                let range = start..<start + count
                switch Int.random(in: 0..<5, using: &random) {
                case 0:
                    let bytes = random.bytes(count)
                    #expect(await client.write(bytes, at: start, forced: random.chance(10)) == 0)
                    model.replaceSubrange(range, with: bytes)
                case 1:
                    let mayPunchHole = random.chance(50)
                    let error = await client.perform(
                        .writeZeroes, offset: UInt64(start), length: UInt64(count), mayPunchHole: mayPunchHole)
                    #expect(error == 0)
                    model.replaceSubrange(range, with: repeatElement(0, count: count))
                case 2:
                    // The contents after a trim are undefined, so the range is written again.
                    #expect(await client.perform(.trim, offset: UInt64(start), length: UInt64(count)) == 0)
                    let bytes = random.bytes(count)
                    #expect(await client.write(bytes, at: start) == 0)
                    model.replaceSubrange(range, with: bytes)
                case 3:
                    #expect(await client.perform(.flush) == 0)
                default:
                    let read = await client.read(count, at: start)
                    #expect(read.error == 0 && read.bytes == Array(model[range]), "step \(step)")
                }
            }
            #expect(await client.perform(.flush) == 0)
        }
        #expect(try scratch.contents("backing.raw") == model)
        try await device.remove()
    }

    @Test func aDiscardedDeviceUsesNoSpace() async throws {
        let size = 8 << 20
        let file = try scratch.write([UInt8](repeating: 7, count: size), to: "backing.raw")
        let device = try await LoopDevice(file: file, sectorSize: 512)
        let image = try RawImage(path: device.path, access: .readWrite)
        try await TestDisk.run(try scratch.hole(size, "other.raw"), device: FileDevice(image: image)) { test in
            let error = await test.client().perform(.trim, offset: 100, length: UInt64(size - 100), forced: true)
            #expect(error == 0)
        }
        var info = stat()
        stat(file, &info)
        #expect(info.st_blocks * 512 <= 64 << 10)
        try await device.remove()
    }

    /// Without a hole, the kernel may write zeros for any time.
    @Test(arguments: [true, false]) func fastZerosThatMustKeepSpaceAreRefused(mayPunchHole: Bool) async throws {
        let size = 1 << 20
        let file = try scratch.write([UInt8](repeating: 7, count: size), to: "backing.raw")
        let device = try await LoopDevice(file: file, sectorSize: 512)
        let image = try RawImage(path: device.path, access: .readWrite)
        try await TestDisk.run(try scratch.hole(size, "other.raw"), device: FileDevice(image: image)) { test in
            let error: CInt = await withCheckedContinuation { continuation in
                test.loops[0].post {
                    DiskCall(port: test.disk.port(on: test.loops[0]), continuation).begin(isBehindFence: false) {
                        $0.kind = .writeZeroes
                        $0.length = UInt64(size)
                        $0.mustBeFast = true
                        $0.mayPunchHole = mayPunchHole
                    }
                }
            }
            #expect(error == (mayPunchHole ? 0 : ENOTSUP))
            let bytes = try image.bytes(0..<size)
            #expect(bytes.allSatisfy { $0 == (mayPunchHole ? 0 : 7) })
        }
        try await device.remove()
    }
}
