import Foundation
import NIOConcurrencyHelpers
import Ring
import TestSupport
import Testing

@testable import Block

/// Another server's disk as a migration uses it; the servers are nbdkit and qemu-storage-daemon.
@Suite("Images on NBD servers", .timeLimit(.minutes(10)))
final class NBDDiskImageTests {
    private static let megabyte = 1 << 20

    private let scratch = Scratch()
    private let loops: [EventLoop]
    private var server: ChildProcess?

    init() throws { loops = [try EventLoop(index: 0)] }

    deinit { for loop in loops { loop.stop() } }

    private var socket: String { scratch.file("nbd.sock") }
    private var uri: String { "nbd+unix:///?socket=\(socket)" }

    private func start(_ arguments: [String]) async throws {
        unlink(socket)
        server = try ChildProcess("/usr/bin/nbdkit", ["-f", "-U", socket] + arguments)
        try await waitUntil("nbdkit answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
    }

    private func open() async throws -> NBDDiskImage { try await NBDDiskImage.open(uri: uri, loops: loops) }

    @Test("Writes, zeros and holes -> the server's file has them, and its holes are found again")
    func writing() async throws {
        let path = try scratch.hole(4 * Self.megabyte, "disk.raw")
        try await start(["file", path])
        let image = try await open()
        #expect(image.size == UInt64(4 * Self.megabyte) && image.isWritable)
        #expect(try image.nextData(from: 0) == nil)
        let bytes = [UInt8](repeating: 7, count: Self.megabyte)
        try bytes.withUnsafeBytes { try image.write($0, at: UInt64(Self.megabyte)) }
        #expect(try image.nextData(from: 0) == UInt64(Self.megabyte)..<UInt64(2 * Self.megabyte))
        #expect(try image.nextData(from: UInt64(2 * Self.megabyte)) == nil)
        try image.punchHole(at: UInt64(Self.megabyte), length: 65536)
        try image.writeZeros(at: UInt64(Self.megabyte + 65536), length: 65536)
        try image.synchronize()
        #expect(try image.dataBytes() < UInt64(Self.megabyte))
        var read = [UInt8](repeating: 1, count: Self.megabyte)
        try read.withUnsafeMutableBytes { try image.read(into: $0, at: UInt64(Self.megabyte)) }
        #expect(read == [UInt8](repeating: 0, count: 131072) + bytes.dropFirst(131072))
        #expect(try scratch.contents("disk.raw")[Self.megabyte..<2 * Self.megabyte].elementsEqual(read))
    }

    @Test("A large disk without holes -> its bytes are counted with few questions")
    func manyBytes() async throws {
        try await start([
            "eval", "get_size=echo \(64 << 30)", "can_extents=exit 0", "pread=head -c $3 /dev/zero",
            "extents=echo x >> \(scratch.file("asked")); echo $4 $3",
        ])
        let image = try await open()
        let before = try scratch.contents("asked").count
        #expect(try image.dataBytes() == 64 << 30)
        #expect(try (scratch.contents("asked").count - before) / 2 == 64)
    }

    @Test("A connection by TCP -> a host that is gone is noticed")
    func deadHost() async throws {
        // The server chooses its port.
        let program = """
            import socket
            s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
            import os, sys
            os.set_inheritable(s.fileno(), True)
            os.dup2(s.fileno(), 3); os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
            os.execv("/usr/bin/nbdkit", ["nbdkit", "-f", "memory", "1M"])
            """
        let printed = scratch.file("port")
        server = try ChildProcess("/bin/sh", ["-c", "exec python3 -c '\(program)' > \(printed)"])
        try await waitUntil("nbdkit has a port") { (try? scratch.contents("port"))?.last == UInt8(ascii: "\n") }
        let port = String(decoding: try scratch.contents("port"), as: UTF8.self).trimmingCharacters(in: .newlines)
        let uri = "nbd://127.0.0.1:\(port)"
        let link = try NBDClientLink(uri: uri, timeoutSeconds: 10)
        defer { link.leave() }
        func option(_ level: CInt, _ name: CInt) -> CInt {
            var (value, length) = (0 as CInt, socklen_t(MemoryLayout<CInt>.size))
            getsockopt(link.descriptor, level, name, &value, &length)
            return value
        }
        #expect(option(SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(option(CInt(IPPROTO_TCP), TCP_USER_TIMEOUT) == 30_000)
        #expect(option(CInt(IPPROTO_TCP), TCP_KEEPIDLE) == 10)
    }

    @Test("The server fails a write -> its errno; the image goes on")
    func failedWrite() async throws {
        try await start([
            "eval", "get_size=echo 1048576", "can_write=exit 0", "can_flush=exit 0", "flush=exit 0",
            "pread=head -c $3 /dev/zero", "pwrite=cat > /dev/null; echo ENOSPC it is full >&2; exit 1",
        ])
        let image = try await open()
        #expect {
            try [1].withUnsafeBytes { try image.write($0, at: 0) }
        } throws: { ($0 as? FileError)?.code == ENOSPC }
        try image.synchronize()
        var byte: [UInt8] = [1]
        try byte.withUnsafeMutableBytes { try image.read(into: $0, at: 0) }
        #expect(byte == [0])
    }

    @Test("The server restarts with unflushed writes -> every flush fails, until the losses are forgotten")
    func losses() async throws {
        let path = try scratch.hole(Self.megabyte, "disk.raw")
        try await start(["file", path])
        let image = try await open()
        let bytes = [UInt8](repeating: 7, count: 4096)
        try bytes.withUnsafeBytes { try image.write($0, at: 0) }
        try image.synchronize()
        try await restart(path)
        // Everything was durable.
        try image.synchronize()
        try bytes.withUnsafeBytes { try image.write($0, at: 4096) }
        try await restart(path)
        for _ in 0..<2 { #expect(throws: LostChanges.self) { try image.synchronize() } }
        #expect(image.flushFailure?.code == EIO && image.losses.now == 1)
        image.forgetLosses()
        try image.synchronize()
        #expect(image.flushFailure == nil)
    }

    @Test("A client of the device loses unflushed writes -> a flush of the image fails, too")
    func lossesOfClients() async throws {
        let path = try scratch.hole(Self.megabyte, "disk.raw")
        try await start(["file", path])
        let image = try await open()
        let disk = Disk(size: image.size, device: image.device, loops: loops, losses: image.losses)
        let client = DiskClient(disk: disk, loop: loops[0])
        #expect(await client.write([UInt8](repeating: 1, count: 512), at: 0) == 0)
        try await restart(path)
        try await waitUntil("the loss is noticed") { image.losses.now == 1 }
        #expect(throws: LostChanges.self) { try image.synchronize() }
    }

    @Test("The server comes back with a disk of another size -> one line says so, and requests fail")
    func otherSize() async throws {
        try await start(["memory", "1M"])
        let lines = NIOLockedValueBox<[String]>([])
        let image = try await NBDDiskImage.open(uri: uri, loops: loops) { line in
            lines.withLockedValue { $0.append(line) }
        }
        let disk = Disk(size: image.size, device: image.device, loops: loops, losses: image.losses)
        let client = DiskClient(disk: disk, loop: loops[0])
        server = nil
        try await start(["memory", "2M"])
        #expect(await client.read(512, at: 0).error == EIO)
        let told = lines.withLockedValue { $0 }
        #expect(told.count == 1 && told[0].contains("2097152") && told[0].contains("1048576"), "\(told)")
    }

    @Test("A server that promises nothing about several connections -> the disk may move only read-only")
    func oneConnection() async throws {
        let path = try scratch.hole(Self.megabyte, "disk.raw")
        try await start(["--filter=multi-conn", "file", path, "multi-conn-mode=disable"])
        #expect(try await open().sharingProblem?.contains("multi-conn") == true)
        server = nil
        try await start(["-r", "--filter=multi-conn", "file", path, "multi-conn-mode=disable"])
        let image = try await open()
        #expect(image.sharingProblem == nil && !image.isWritable)
        #expect(throws: FileError.self) { try image.reopened(for: .readWrite) }
    }

    @Test("A name by the operator -> the identity; without one, no later opening has the same")
    func identity() async throws {
        try await start(["memory", "1M"])
        let named = try await NBDDiskImage.open(uri: uri, givenName: "a", loops: loops).identity()
        let again = try await NBDDiskImage.open(uri: uri, givenName: "a", loops: loops).identity()
        #expect(named.map { identity in again.map(identity.isSame) ?? false } == true && named?.outlivesProcess == true)
        let (first, second) = (try await open().identity(), try await open().identity())
        #expect(first.map { identity in second.map(identity.isSame) ?? true } == false)
        #expect(first?.outlivesProcess == false)
    }

    private func restart(_ path: String) async throws {
        server?.signal(SIGKILL)
        server = nil
        try await start(["file", path])
    }
}
