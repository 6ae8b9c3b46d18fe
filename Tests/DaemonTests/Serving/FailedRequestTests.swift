import Foundation
import TestSupport
import Testing

/// Devices that fail while a guest runs: log and `status` report it.
@Suite("Failed requests", .timeLimit(.minutes(10)))
struct FailedRequestTests {
    private let scratch = Scratch()

    /// Returns the counts of `status --json` as `REQUEST ERROR COUNT`.
    private func failures(_ node: NodeProcess) async throws -> [String] {
        let export = try await node.exports().first
        return (export?["failures"] as? [[String: Any]] ?? []).map {
            "\($0["request"] ?? "") \($0["error"] ?? "") \($0["count"] ?? "")"
        }
    }

    private func lines(_ node: NodeProcess, with words: String) -> Int {
        node.messages.split(separator: "\n").count { $0.contains(words) }
    }

    @Test("An image cut short -> each kind of failure is logged once and counted")
    func cutShort() async throws {
        let image = try scratch.write([UInt8](repeating: 7, count: 4 << 20), to: "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk"])
        #expect(try await failures(node).isEmpty)
        // Cut it while a client is connected: later clients learn the smaller size.
        let script = """
            import os
            os.truncate("\(image)", 1 << 20)
            for offset, count in ((2 << 20, 4096), (3 << 20, 4096), (3 << 20, 1 << 20)):
                try: h.pread(count, offset)
                except nbd.Error as e: print(e.errno)
            """
        let result = try await Command.run("nbdsh", "-u", node.uri(), "-c", script)
        #expect(result.output == "EIO\nEIO\nEIO\n", "\(result)")
        #expect(try await failures(node) == ["read EIO 3"])
        #expect(lines(node, with: "read of 4096 bytes at 2097152 failed: EIO") == 1, "\(node.messages)")
        #expect(lines(node, with: "EIO") == 1, "\(node.messages)")
        let status = try await node.ask(["status"])
        #expect(status.output.contains("\n  3 failed requests (3 read EIO)\n"), "\(status)")
        #expect(try await node.stop() == 0)
    }

    @Test("A client's own mistakes -> neither logged nor counted")
    func mistakes() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk", "--read-only"])
        let script = """
            h.set_strict_mode(0)
            for ask in (lambda: h.pread(1, 1 << 20), lambda: h.pwrite(b"x", 0), lambda: h.trim(1, 0)):
                try: ask()
                except nbd.Error as e: print(e.errno)
            """
        let result = try await Command.run("nbdsh", "-u", node.uri(), "-c", script)
        #expect(result.output == "EINVAL\nEPERM\nEPERM\n", "\(result)")
        #expect(try await failures(node).isEmpty && !node.messages.contains("failed"))
        let status = try await node.ask(["status"])
        #expect(!status.output.contains("failed"), "\(status)")
        #expect(try await node.stop() == 0)
    }

    @Test(
        "A full file system -> failures of small writes, large writes and zeros are counted",
        .enabled(if: SmallFileSystem.isPossible))
    func full() async throws {
        let small = try SmallFileSystem(on: scratch.file("small"))
        defer { small.unmount() }
        let image = try scratch.hole(64 << 20, "small/disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk"])
        let script = """
            h.set_strict_mode(0)
            for ask in (
                lambda: h.pwrite(bytes(4 << 20), 0), lambda: h.pwrite(b"x" * 4096, 32 << 20),
                lambda: h.pwrite(b"x" * 4096, 40 << 20, nbd.CMD_FLAG_FUA),
                lambda: h.pwrite(b"y" * (64 << 20), 0),
                lambda: h.zero(4 << 20, 8 << 20, nbd.CMD_FLAG_NO_HOLE),
            ):
                try: ask()
                except nbd.Error as e: print(e.errno)
            print(len(h.pread(4096, 0)))
            """
        let result = try await Command.run("nbdsh", "-u", node.uri(), "-c", script)
        #expect(result.output == "ENOSPC\nENOSPC\nENOSPC\nENOSPC\nENOSPC\n4096\n", "\(result)")
        #expect(try await failures(node) == ["write ENOSPC 4", "writeZeroes ENOSPC 1"])
        #expect(lines(node, with: "ENOSPC") == 2, "\(node.messages)")
        #expect(try await node.stop() == 0)
    }
}
