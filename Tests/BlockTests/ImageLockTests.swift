import Foundation
import TestSupport
import Testing

@testable import Block

@Suite(.timeLimit(.minutes(10))) struct ImageLockTests {
    private let scratch = Scratch()

    @Test func aSecondWriterIsRefusedAndReadersAreNot() async throws {
        let path = try scratch.hole(1 << 20, "disk.raw")
        var writer: RawImage? = try RawImage(path: path, access: .readWrite)
        let error = #expect(throws: ImageInUse.self) { try RawImage(path: path, access: .readWrite) }
        let message = try #require(error?.description)
        #expect(message.contains(path) && !message.contains("\n"))
        _ = try RawImage(path: path, access: .readOnly)
        // A reader that closes the file must not release the writer's lock.
        #expect(throws: ImageInUse.self) { try RawImage(path: path, access: .readWrite) }
        #expect(writer != nil)
        writer = nil
        let isFree = try await isSoon { (try? RawImage(path: path, access: .readWrite)) != nil }
        #expect(isFree)
    }

    @Test func qemuIsRefusedWhileWeWrite() async throws {
        let path = try scratch.hole(1 << 20, "disk.raw")
        let image = try RawImage(path: path, access: .readWrite)
        let refused = try await Command.run("qemu-io", "-f", "raw", "-c", "write 0 4k", path)
        #expect(refused.status != 0 && refused.errors.contains("lock"))
        let converted = try await Command.run(
            "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", try scratch.hole(4096, "other.raw"), path)
        #expect(converted.status != 0 && converted.errors.contains("lock"))
        #expect(try image.nextData(from: 0) == nil)
    }

    @Test func qemuWritesAfterWeClose() async throws {
        let path = try scratch.hole(1 << 20, "disk.raw")
        _ = try RawImage(path: path, access: .readWrite)
        let isWritten = try await isSoon {
            try await Command.run("qemu-io", "-f", "raw", "-c", "write -P 7 0 4k", path).status == 0
        }
        #expect(isWritten)
        #expect(try scratch.contents("disk.raw")[..<4096].allSatisfy { $0 == 7 })
    }

    @Test func weAreRefusedWhileQemuWrites() async throws {
        let path = try scratch.hole(1 << 20, "disk.raw")
        let pidFile = scratch.file("pid")
        let daemon = try ChildProcess(
            "/usr/bin/qemu-storage-daemon",
            [
                "--pidfile", pidFile, "--blockdev", "driver=file,node-name=disk,filename=\(path)",
                "--nbd-server", "addr.type=unix,addr.path=\(scratch.file("socket"))",
                "--export", "type=nbd,id=disk,node-name=disk,writable=on",
            ])
        defer { daemon.signal(SIGKILL) }
        // QEMU writes the file when the image is open.
        let isRunning = try await isSoon { access(pidFile, F_OK) == 0 }
        try #require(isRunning)
        #expect(throws: ImageInUse.self) { try RawImage(path: path, access: .readWrite) }
        _ = try RawImage(path: path, access: .readOnly)
    }

    /// Whether a condition holds within ten seconds. A program that another test is starting shares our descriptors
    /// and locks for a moment.
    private func isSoon(_ holds: () async throws -> Bool) async throws -> Bool {
        for _ in 0..<2000 {
            if try await holds() { return true }
            try await Task.sleep(for: .milliseconds(5))
        }
        return false
    }
}
