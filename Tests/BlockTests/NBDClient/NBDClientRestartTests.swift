import Foundation
import NIOConcurrencyHelpers
import Ring
import TestSupport
import Testing

@testable import Block

/// Servers that restart within a request, and lose what they had acknowledged and not made durable.
@Suite("Restarts of other NBD servers", .timeLimit(.minutes(10)))
final class NBDClientRestartTests {
    private let loop: EventLoop

    init() throws { loop = try EventLoop(index: 0) }

    deinit { loop.stop() }

    private func open(
        _ server: MortalServer, as helper: (any DiskServer)? = nil
    ) async throws -> (image: NBDDiskImage, client: DiskClient) {
        let image = try await NBDDiskImage.open(uri: server.uri, loops: [loop], server: helper)
        let disk = Disk(size: image.size, device: image.device, loops: [loop], losses: image.losses)
        return (image, DiskClient(disk: disk, loop: loop))
    }

    /// A server that tells its ends, and never has any.
    private final class Lasting: DiskServer {
        func whenEnded(_ body: @escaping @Sendable () -> Void) {}
    }

    private static func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 251 + 1) } }

    @Test("At the second piece of a clearing -> the first is cleared again")
    func pieces() async throws {
        let server = try await MortalServer(size: 3 << 30)
        let (image, client) = try await open(server)
        #expect(await client.write(Self.bytes(512), at: 4096) == 0)
        #expect(await client.perform(.flush) == 0)
        try server.endAt("zero \(1 << 30)")
        async let cleared = client.perform(.writeZeroes, length: 2 << 30)
        try await server.restart()
        #expect(await cleared == 0)
        #expect(await client.perform(.flush) == 0)
        #expect(try server.durable(4096..<4608) == [UInt8](repeating: 0, count: 512))
        #expect(server.commands.filter { $0 == "zero 0" }.count == 2, "\(server.commands)")
        #expect(image.losses.now == 0)
        image.stop()
    }

    @Test("At the second piece of zeros that are written -> the first is written again")
    func writtenZeros() async throws {
        let server = try await MortalServer(size: 1 << 20, canZero: false)
        let (image, client) = try await open(server)
        #expect(await client.write(Self.bytes(150_000), at: 0) == 0)
        #expect(await client.perform(.flush) == 0)
        try server.endAt("write \(ZeroPage.count)")
        async let cleared = client.perform(.writeZeroes, length: 149_000)
        try await server.restart()
        #expect(await cleared == 0)
        #expect(await client.perform(.flush) == 0)
        let expected = [UInt8](repeating: 0, count: 149_000) + Self.bytes(150_000)[149_000...]
        #expect(try server.durable(0..<150_000) == expected)
        image.stop()
    }

    @Test("At the flush behind a forced write -> the write is sent again before it counts as durable")
    func forcedWrite() async throws {
        let server = try await MortalServer(size: 1 << 20)
        let (image, client) = try await open(server)
        try server.endAt("flush")
        async let written = client.write(Self.bytes(5000), at: 4096, forced: true)
        try await server.restart()
        #expect(await written == 0)
        #expect(try server.durable(4096..<9096) == Self.bytes(5000))
        #expect(server.commands == ["write 4096", "flush", "write 4096", "flush"])
        // Nobody had an answer, so nothing was lost.
        #expect(image.losses.now == 0)
        image.stop()
    }

    @Test("A request that waits for 30 s fails, and one that came later waits on")
    func lateRequest() async throws {
        let server = try await MortalServer(size: 1 << 20)
        let (image, client) = try await open(server)
        try server.endAt("write 0")
        async let early = client.write(Self.bytes(512), at: 0)
        try await waitUntil("the server has ended") { !server.isRunning }
        try await Task.sleep(for: .seconds(15))
        let hasEnded = NIOLockedValueBox(false)
        async let late: CInt = {
            let error = await client.write(Self.bytes(512), at: 4096)
            hasEnded.withLockedValue { $0 = true }
            return error
        }()
        #expect(await early == EIO)
        // A request that ends with the first one ends in the same turn of the loop.
        for _ in 0..<200 { await loop.perform {} }
        #expect(!hasEnded.withLockedValue { $0 })
        image.stop()
        #expect(await late == ESHUTDOWN)
    }

    @Test("A helper that goes on fails one flush as if it were to end -> device and image count the loss")
    func failedOnce() async throws {
        let server = try await MortalServer(size: 1 << 20)
        let (image, client) = try await open(server, as: Lasting())
        #expect(await client.write(Self.bytes(512), at: 0) == 0)
        try server.failAt("flush")
        #expect(await client.perform(.flush) == 0, "sent again; OwedFlush tells the client")
        #expect(image.losses.now == 1)
        image.forgetLosses()
        #expect(await client.write(Self.bytes(512), at: 0) == 0)
        try server.failAt("flush")
        #expect(throws: LostChanges.self) { try image.synchronize() }
        #expect(image.losses.now == 2)
        image.stop()
    }

    @Test("Many forced writes at once, some of them unanswered -> all are durable")
    func manyWrites() async throws {
        let server = try await MortalServer(size: 1 << 20)
        let (image, client) = try await open(server)
        try server.endAt("write 40960")
        let bytes = Self.bytes(20 * 4096)
        async let restarted: Void = server.restart()
        await withTaskGroup(of: CInt.self) { group in
            for start in stride(from: 0, to: bytes.count, by: 4096) {
                group.addTask { await client.write(Array(bytes[start..<start + 4096]), at: start, forced: true) }
            }
            for await error in group { #expect(error == 0) }
        }
        try await restarted
        #expect(try server.durable(0..<bytes.count) == bytes)
        #expect(image.losses.now == 0)
        image.stop()
    }
}
