import BlockModel
import Foundation
import NIOConcurrencyHelpers
import Ring
import TestSupport
import Testing

@testable import Block

/// Commands and answers on a connection in the clear: servers that answer oddly, and many requests at once.
@Suite("Answers of other NBD servers", .timeLimit(.minutes(10)))
final class NBDClientStreamTests {
    private let scratch = Scratch()
    private let loops: [EventLoop]

    init() throws { loops = [try EventLoop(index: 0), try EventLoop(index: 1)] }

    deinit { for loop in loops { loop.stop() } }

    private var socket: String { scratch.file("nbd.sock") }

    private var uri: String { "nbd+unix:///?socket=\(socket)" }

    private func open(_ uri: String? = nil) async throws -> (image: NBDDiskImage, disk: Disk) {
        let image = try await NBDDiskImage.open(uri: uri ?? self.uri, loops: loops)
        return (image, Disk(size: image.size, device: image.device, loops: loops, losses: image.losses))
    }

    /// Runs `body` with a client of a server that answers its first read as `mode` says.
    private func withServer(
        _ mode: String, structured: Bool = true, _ body: (DiskClient, NBDDiskImage) async throws -> Void
    ) async throws {
        let server = try OddServer.start(socket, mode, structured: structured)
        try await waitUntil("the server listens") { UnixAddress.isListening(at: socket) }
        let (image, disk) = try await open()
        try await body(DiskClient(disk: disk, loop: loops[0]), image)
        image.stop()
        withExtendedLifetime(server) {}
    }

    @Test("Chunks out of order, byte by byte -> the bytes in their places")
    func pieces() async throws {
        try await withServer("pieces") { client, _ in
            let read = await client.read(3000, at: 1000)
            #expect(read.error == 0 && read.bytes == OddServer.bytes(1000..<4000))
        }
    }

    @Test(
        "A part of the answer is missing, repeated or outside -> the read fails, and the connection goes on",
        arguments: ["short", "twice", "outside"])
    func wrongParts(mode: String) async throws {
        try await withServer(mode) { client, image in
            #expect(await client.write([1], at: 0) == 0)
            #expect(await client.read(4096, at: 8192).error == EIO)
            let read = await client.read(100_000, at: 5)
            #expect(read.error == 0 && read.bytes == OddServer.bytes(5..<100_005))
            // A connection that is made anew would count the write as lost.
            #expect(image.losses.now == 0)
        }
    }

    @Test("An error behind half of the data -> its errno")
    func errors() async throws {
        try await withServer("error") { client, _ in
            #expect(await client.read(4096, at: 0).error == ENOSPC)
            #expect(await client.read(4096, at: 0).error == 0)
        }
    }

    @Test(
        "Bytes that are no answer, and an end within one -> the read is sent again on another connection",
        arguments: ["garbage", "stranger", "older", "closing", "simple", "behind"])
    func lostConnections(mode: String) async throws {
        try await withServer(mode) { client, image in
            #expect(await client.write([1], at: 0) == 0)
            let read = await client.read(4096, at: 4096)
            #expect(read.error == 0 && read.bytes == OddServer.bytes(4096..<8192))
            #expect(await client.read(512, at: 512).bytes == OddServer.bytes(512..<1024))
            #expect(image.losses.now == 1)
        }
    }

    @Test("A server without structured replies -> its bytes, and everything is data")
    func simpleReplies() async throws {
        try await withServer("none", structured: false) { client, _ in
            for count in [1, 4096, 1 << 20] {
                let read = await client.read(count, at: 0)
                #expect(read.error == 0 && read.bytes == OddServer.bytes(0..<count))
            }
            #expect(await client.perform(.flush) == 0)
        }
    }

    @Test("A server says that it is about to end -> its successor is asked", arguments: [true, false])
    func leaving(structured: Bool) async throws {
        try await withServer("leaving", structured: structured) { client, _ in
            let read = await client.read(4096, at: 8192)
            #expect(read.error == 0 && read.bytes == OddServer.bytes(8192..<12288))
        }
    }

    @Test("A server that ends within its first status -> an error at once, long before the limit of 30 s")
    func halfStatus() async throws {
        let server = try OddServer.start(socket, "half")
        try await waitUntil("the server listens") { UnixAddress.isListening(at: socket) }
        let began = ContinuousClock.now
        let opened = try? await open()
        #expect(opened == nil && began.duration(to: .now) < .seconds(20))
        withExtendedLifetime(server) {}
    }

    @Test("Extents that come byte by byte -> up to the end of the range")
    func extents() async throws {
        let server = try OddServer.start(socket, "status")
        try await waitUntil("the server listens") { UnixAddress.isListening(at: socket) }
        let (image, disk) = try await open()
        let found = await StatusCall.extents(of: disk, on: loops[0], length: 4100)
        let states: [(UInt64, UInt64)] = [(1025, 0), (1025, 3), (1025, 0), (1025, 3)]
        #expect(found == states.map { BlockExtent(length: $0, state: BlockState(rawValue: $1)) })
        image.stop()
        withExtendedLifetime(server) {}
    }

    @Test("Extents of a context that nobody asked for -> everything is data")
    func foreignContext() async throws {
        let server = try OddServer.start(socket, "context")
        try await waitUntil("the server listens") { UnixAddress.isListening(at: socket) }
        let (image, disk) = try await open()
        let found = await StatusCall.extents(of: disk, on: loops[0], length: 4096)
        #expect(found == [BlockExtent(length: 4096, state: [])])
        image.stop()
        withExtendedLifetime(server) {}
    }

    @Test(
        "A server that does not read a large write for long -> everything behind it follows, and nothing is lost",
        arguments: ["late", "early"])
    func lateReader(mode: String) async throws {
        try await withServer(mode) { client, image in
            let bytes = Self.pattern(20 << 20, 7)
            let hasEnded = NIOLockedValueBox(false)
            async let large: CInt = {
                let error = await client.write(bytes, at: 0)
                hasEnded.withLockedValue { $0 = true }
                return error
            }()
            try await waitUntil("the server knows the write") { told("asked") }
            // By then the socket has taken all that it takes.
            for _ in 0..<200 { await loops[0].perform {} }
            async let small = Self.writeMany(client)
            tell("go")
            if mode == "early" {
                try await waitUntil("the server has answered") { told("answered") }
                for _ in 0..<200 { await loops[0].perform {} }
                #expect(!hasEnded.withLockedValue { $0 }, "the kernel still reads the buffer")
                tell("more")
            }
            #expect(await large == 0)
            #expect(await small == 0)
            let read = await client.read(bytes.count, at: 0)
            #expect(read.error == 0 && read.bytes == bytes)
            let others = await client.read(600 * 512, at: 32 << 20)
            #expect(others.error == 0 && others.bytes == (0..<600).flatMap { Self.pattern(512, $0) })
            #expect(image.losses.now == 0)
        }
    }

    /// Writes 600 pieces, all at once.
    private static func writeMany(_ client: DiskClient) async -> CInt {
        await withTaskGroup(of: CInt.self) { group in
            for index in 0..<600 {
                group.addTask { await client.write(pattern(512, index), at: 32 << 20 + index * 512) }
            }
            return await group.reduce(0, max)
        }
    }

    @Test("A connection that the client gives up -> its writes are not carried out after those of the next one")
    func overtakenWrites() async throws {
        try await withServer("overtaken") { client, _ in
            async let read = client.read(512, at: 8192)
            try await waitUntil("the server knows the read") { told("asked") }
            #expect(await client.write([UInt8](repeating: 1, count: 4096), at: 0) == 0)
            #expect(await client.write([UInt8](repeating: 2, count: 4096), at: 0) == 0)
            #expect(await read.bytes == OddServer.bytes(8192..<8704))
            try await waitUntil("the first connection has ended") { told("ended") }
            #expect(await client.read(4096, at: 0).bytes == [UInt8](repeating: 2, count: 4096))
        }
    }

    @Test("Two connections that show different disks -> an error, and both are closed")
    func differentDisks() async throws {
        let server = try OddServer.start(socket, "sizes")
        try await waitUntil("the server listens") { UnixAddress.isListening(at: socket) }
        let opened = try? await open()
        #expect(opened == nil)
        try await waitUntil("both connections have ended") { (try? scratch.contents("nbd.sock.ended"))?.count == 2 }
        withExtendedLifetime(server) {}
    }

    private func told(_ what: String) -> Bool { access("\(socket).\(what)", F_OK) == 0 }

    private func tell(_ what: String) { _ = FileManager.default.createFile(atPath: "\(socket).\(what)", contents: nil) }

    /// Bytes of which each has a place of its own, for a number.
    private static func pattern(_ count: Int, _ number: Int) -> [UInt8] {
        let shift = number * 37 % 251
        var bytes = (0..<251).map { UInt8(($0 + shift) % 251) }
        while bytes.count < count { bytes += bytes }
        return Array(bytes[..<count])
    }

    @Test(
        "Requests of every size and kind at once on two loops -> what the last write of each range left",
        arguments: [false, true])
    func manyAtOnce(secure: Bool) async throws {
        let keys = try scratch.write(Array("guest:00112233445566778899aabbccddeeff\n".utf8), to: "keys.psk")
        let secret = "tls-creds-psk,id=tls,dir=\(scratch.path),endpoint=server"
        let options = secure ? ["--object", secret, "--tls-creds", "tls"] : []
        // The server of helpers. nbdkit 1.32 sometimes ended in the middle of this, with status 0 and without a signal.
        let server = try ChildProcess(
            "/usr/bin/qemu-nbd",
            ["-t", "-f", "raw", "--shared=0", "-k", socket] + options + [try scratch.hole(64 << 20, "disk.raw")])
        // TLS leaves the commands to libnbd.
        let uri = secure ? "nbds+unix://guest@/?socket=\(socket)&tls-psk-file=\(keys)" : uri
        try await waitUntil("qemu-nbd answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
        let (image, disk) = try await open(uri)
        var random = Seeded.fresh()
        let seed = random.next()
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<16 {
                group.addTask { [loops] in
                    let client = DiskClient(disk: disk, loop: loops[worker % 2])
                    await Self.work(client, worker, Seeded(seed &+ UInt64(worker)))
                }
            }
        }
        #expect(image.losses.now == 0)
        image.stop()
        withExtendedLifetime(server) {}
    }

    /// Writes, trims, clears and reads 4 MiB that no other worker uses.
    private static func work(_ client: DiskClient, _ worker: Int, _ random: Seeded) async {
        var random = random
        let start = worker << 22
        var expected = [UInt8](repeating: 0, count: 1 << 22)
        for step in 0..<60 {
            let largest = [512, 4096, 70_000, 1 << 20].randomElement(using: &random)!
            let count = Int.random(in: 1...largest, using: &random)
            let offset = Int.random(in: 0...expected.count - count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                let bytes = pattern(count, worker + step)
                #expect(await client.write(bytes, at: start + offset, forced: step % 3 == 0) == 0)
                expected.replaceSubrange(offset..<offset + count, with: bytes)
            case 2:
                // A server may leave trimmed bytes as they are; zeros come behind them.
                for kind in step % 2 == 0 ? [RequestKind.trim, .writeZeroes] : [.writeZeroes] {
                    let error = await client.perform(kind, offset: UInt64(start + offset), length: UInt64(count))
                    #expect(error == 0)
                }
                expected.replaceSubrange(offset..<offset + count, with: repeatElement(0, count: count))
            case 3:
                #expect(await client.perform(.flush) == 0)
            default:
                let read = await client.read(count, at: start + offset)
                #expect(read.error == 0 && read.bytes[...] == expected[offset..<offset + count], "step \(step)")
            }
        }
    }
}
