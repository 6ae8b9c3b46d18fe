import Ring
import TestSupport
import Testing

@testable import Block

@Suite(.timeLimit(.minutes(10))) struct FenceTests {
    private let scratch = Scratch()

    @Test(arguments: [1, 3]) func aFenceWaitsForRequestsInFlightOnAllLoops(loops: Int) async throws {
        let device = HandDevice()
        try await TestDisk.run(try scratch.hole(4096, "disk.raw"), loops: loops, device: device) { test in
            let log = Log()
            async let written = test.client(on: loops - 1).write([1], at: 0)
            try await device.waitFor(1)
            async let fenced: Void = {
                await test.disk.fence()
                log.append(1)
            }()
            for _ in 0..<100 { for loop in test.loops { await loop.perform {} } }
            #expect(log.all == [])
            device.endAll()
            let error = await written
            await fenced
            #expect(error == 0 && log.all == [1])
            await test.disk.unfence()
        }
    }

    @Test func requestsBehindAFenceWaitAndAreServedInOrder() async throws {
        let device = HandDevice()
        try await TestDisk.run(try scratch.hole(4096, "disk.raw"), device: device) { test in
            await test.disk.fence()
            let owner = RecordingOwner()
            await test.loops[0].perform {
                for offset in 0..<50 {
                    owner.submit(.write, at: offset, to: test.disk.port(on: test.loops[0]))
                }
            }
            #expect(device.offsets == [] && owner.ended.all == [])
            await test.disk.unfence()
            #expect(device.offsets == Array(0..<50))
            device.endAll()
            await test.loops[0].perform {}
            #expect(owner.ended.all == Array(0..<50))
        }
    }

    @Test func cachedReadsWaitBehindAFence() async throws {
        try await TestDisk.run(try scratch.write([1, 2, 3, 4], to: "disk.raw")) { test in
            let read: @Sendable () -> Bool = {
                let memory = Memory([0, 0, 0, 0])
                let port = test.disk.port(on: test.loops[0])
                return port.readIfCached(into: memory.base, length: 4, at: 0) == 4
                    && memory.contents == [1, 2, 3, 4]
            }
            let before = await test.loops[0].perform(read)
            await test.disk.fence()
            let behind = await test.loops[0].perform(read)
            await test.disk.unfence()
            let after = await test.loops[0].perform(read)
            #expect([before, behind, after] == [true, false, true])
        }
    }

    @Test("Another device -> it answers what is done at once, and the old one is let go", arguments: [true, false])
    func anotherDeviceAtOnce(isFenced: Bool) async throws {
        func block(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 4096) }
        let other = try scratch.write(block(5), to: "other.raw")
        try await TestDisk.run(try scratch.write(block(1), to: "disk.raw"), loops: 2) { test in
            func contents() async -> [[UInt8]] {
                var found: [[UInt8]] = []
                for loop in test.loops {
                    found.append(
                        await loop.perform {
                            let memory = Memory([0, 0, 0, 0])
                            _ = test.disk.port(on: loop).readIfCached(into: memory.base, length: 4, at: 0)
                            return memory.contents
                        })
                }
                return found
            }
            #expect(await contents() == [[1, 1, 1, 1], [1, 1, 1, 1]])
            var device: FileDevice? = FileDevice(image: try RawImage(path: other, access: .readWrite))
            weak let first = device
            if isFenced {
                await test.disk.fence()
                await test.disk.replaceDevice(device!)
                await test.disk.unfence()
            } else {
                await test.disk.switchDevice(device!)
            }
            device = nil
            #expect(await contents() == [[5, 5, 5, 5], [5, 5, 5, 5]])
            let written = await test.loops[1].perform {
                let memory = Memory([UInt8](repeating: 9, count: 4096))
                return test.disk.port(on: test.loops[1]).writeAtOnce(from: memory.base, length: 4096, at: 0)
            }
            #expect(written == 0)
            #expect(try scratch.contents("other.raw") == block(9) && scratch.contents("disk.raw") == block(1))
            await test.disk.switchDevice(FileDevice(image: test.image))
            #expect(first == nil)
        }
    }

    @Test func aFencedDiskCanGetAnotherDevice() async throws {
        let (old, new) = (HandDevice(), HandDevice())
        try await TestDisk.run(try scratch.hole(4096, "disk.raw"), loops: 2, device: old) { test in
            await test.disk.fence()
            async let one = test.client(on: 0).write([1], at: 10)
            async let other = test.client(on: 1).write([1], at: 20)
            await test.disk.replaceDevice(new)
            await test.disk.unfence()
            try await new.waitFor(2)
            new.endAll()
            let errors = await [one, other]
            #expect(errors == [0, 0] && old.offsets == [] && new.offsets.sorted() == [10, 20])
        }
    }

    @Test func replacingADeviceWithoutAFenceTraps() async {
        await #expect(processExitsWith: .failure) {
            let scratch = Scratch()
            try await TestDisk.run(try scratch.hole(4096, "disk.raw"), device: HandDevice()) { test in
                await test.disk.replaceDevice(HandDevice())
            }
        }
    }

    @Test func repeatedFencesUnderLoadAreQuiet() async throws {
        try await TestDisk.run(try scratch.hole(1 << 20, "disk.raw"), loops: 2) { test in
            try await withThrowingTaskGroup(of: CInt.self) { group in
                for writer in 0..<4 {
                    group.addTask {
                        var errors: CInt = 0
                        for number in 0..<300 {
                            errors |= await test.client(on: writer % 2).write(
                                [UInt8](repeating: UInt8(writer), count: 1000), at: writer * 200_000 + number)
                        }
                        return errors
                    }
                }
                for _ in 0..<100 {
                    await test.disk.fence()
                    // Two reads see the same bytes, so nobody writes.
                    let size = 1 << 20
                    let before = try test.image.bytes(0..<size)
                    let after = try test.image.bytes(0..<size)
                    #expect(before == after)
                    await test.disk.unfence()
                }
                for try await errors in group { #expect(errors == 0) }
            }
        }
    }
}
