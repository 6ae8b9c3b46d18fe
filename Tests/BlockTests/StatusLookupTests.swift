import Dispatch
import Glibc
import TestSupport
import Testing

@testable import Block

/// Block statuses of an image in which every other block is a hole.
@Suite(.timeLimit(.minutes(10))) struct StatusLookupTests {
    private static let blocks = 4000

    private func run(
        rotation: UInt64 = StatusLookup.rotation, _ body: (TestDisk, FileDevice) async throws -> Void
    ) async throws {
        let scratch = Scratch()
        let path = try scratch.hole(Self.blocks * 4096, "disk.raw")
        let image = try RawImage(path: path, access: .readOnly)
        let writer = try RawImage(path: path, access: .readWrite)
        let block = [UInt8](repeating: 7, count: 4096)
        for number in stride(from: 1, to: Self.blocks, by: 2) {
            try block.withUnsafeBytes { try writer.write($0, at: UInt64(number * 4096)) }
        }
        try writer.synchronize()
        let device = FileDevice(image: image, statuses: StatusLookup(image: image, rotation: rotation))
        try await TestDisk.run(scratch.file("other.raw", of: 4096), device: device) { try await body($0, device) }
    }

    @Test func aStatusWaitsForOneTurnOfAnotherClient() async throws {
        try await run { test, device in
            let log = Log()
            let (greedy, other) = (StatusAsker(1, log), StatusAsker(2, log))
            await test.loops[0].perform {
                let port = test.disk.port(on: test.loops[0])
                for _ in 0..<100 { greedy.ask(Self.blocks * 4096, port) }
                other.ask(Self.blocks * 4096, port)
            }
            try await waitUntil("all are answered") { log.all.count == 101 }
            // At most one status of the greedy client is answered in each turn, and few turns make an answer.
            #expect(log.all.firstIndex(of: 2)! <= 10, "\(log.all)")
            #expect(greedy.errors == [Int](repeating: 0, count: 100) && other.errors == [0])
            #expect((greedy.extents + other.extents).allSatisfy { $0 > 0 })
        }
    }

    @Test func unwantedStatusesGetNoLook() async throws {
        try await run { test, device in
            let log = Log()
            let asker = StatusAsker(1, log)
            await test.loops[0].perform {
                asker.limitStatus(to: .nothing)
                for _ in 0..<100 { asker.ask(Self.blocks * 4096, test.disk.port(on: test.loops[0])) }
            }
            try await waitUntil("all are answered") { log.all.count == 100 }
            #expect(asker.errors == [Int](repeating: Int(ESHUTDOWN), count: 100))
            #expect(device.statuses.looks == 0)
        }
    }

    @Test func leavingClientsGetOneLookForEachStatus() async throws {
        try await run { test, device in
            let log = Log()
            let asker = StatusAsker(1, log)
            await test.loops[0].perform {
                asker.limitStatus(to: .least)
                asker.limitStatus(to: .full)
                for _ in 0..<100 { asker.ask(Self.blocks * 4096, test.disk.port(on: test.loops[0])) }
            }
            try await waitUntil("all are answered") { log.all.count == 100 }
            #expect(asker.errors == [Int](repeating: 0, count: 100))
            #expect(asker.extents == [Int](repeating: 2, count: 100))
            #expect(device.statuses.looks == 100)
        }
    }

    @Test(arguments: [StatusDetail.least, .nothing])
    func manyShortStatusesEndWithTheClientsTurn(detail: StatusDetail) async throws {
        try await run(rotation: 0) { test, device in
            let log = Log()
            let (leaving, other) = (StatusAsker(1, log), StatusAsker(2, log))
            device.statuses.worker.suspend()
            await test.loops[0].perform {
                let port = test.disk.port(on: test.loops[0])
                leaving.limitStatus(to: detail)
                other.limitStatus(to: .least)
                for _ in 0..<100 { leaving.ask(Self.blocks * 4096, port) }
                other.ask(Self.blocks * 4096, port)
            }
            device.statuses.worker.resume()
            try await waitUntil("all are answered") { log.all.count == 101 }
            #expect(log.all.firstIndex(of: 2) == 1)
        }
    }

    /// A forced trim of a block device may take seconds.
    @Test func statusesDoNotWaitForOtherWorkOfTheDevice() async throws {
        try await run { test, device in
            let log = Log()
            let asker = StatusAsker(1, log)
            let mayEnd = DispatchSemaphore(value: 0)
            device.worker.async { mayEnd.wait() }
            await test.loops[0].perform { asker.ask(Self.blocks * 4096, test.disk.port(on: test.loops[0])) }
            let isAnswered = (try? await waitUntil("it is answered") { log.all == [1] }) != nil
            mayEnd.signal()
            #expect(isAnswered)
            try await waitUntil("it is answered once the device is free") { log.all == [1] }
        }
    }
}

extension Scratch {
    /// Creates a file that is one hole.
    fileprivate func file(_ name: String, of size: Int) throws -> String { try hole(size, name) }
}

/// Asks for block statuses and logs its number at the end of each. Used on a loop's thread; any thread may read the
/// log.
private final class StatusAsker: RequestOwner, @unchecked Sendable {
    private static let limit = 4092
    private let number: Int
    private let log: Log
    private let (errorLog, extentLog) = (Log(), Log())

    init(_ number: Int, _ log: Log) {
        (self.number, self.log) = (number, log)
    }

    var errors: [Int] { errorLog.all }
    var extents: [Int] { extentLog.all }

    /// Asks for a range at the start of the disk.
    func ask(_ length: Int, _ port: DiskPort) {
        let request = UnsafeMutablePointer<BlockRequest>.allocate(capacity: 1)
        request.initialize(to: BlockRequest(owner: self, port: port))
        request.pointee.kind = .status
        request.pointee.length = UInt64(length)
        request.pointee.extentLimit = Self.limit
        request.pointee.buffer = .allocate(byteCount: Self.limit * MemoryLayout<BlockExtent>.stride, alignment: 16)
        port.submit(request)
    }

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        errorLog.append(Int(request.pointee.error))
        extentLog.append(request.pointee.extentCount)
        request.pointee.buffer!.deallocate()
        request.deallocate()
        log.append(number)
    }
}
