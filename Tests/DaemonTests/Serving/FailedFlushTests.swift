import Foundation
import TestSupport
import Testing

/// A node whose image could not be made durable, as clients and operator see it.
@Suite("A failed flush", .timeLimit(.minutes(5)), .enabled(if: FullDevice.isPossible))
struct FailedFlushTests {
    private let scratch = Scratch()

    /// Returns how a write of 4 MiB, a flush, and a FUA write of one client end.
    private func write(_ node: NodeProcess, _ steps: String) async throws -> String {
        let script = """
            def do(act, *arguments):
                try: act(*arguments); print("ok")
                except nbd.Error as e: print("failed")
            \(steps)
            """
        let result = try await Command.run("nbdsh", "-u", node.uri(), "-c", script)
        return result.output.split(separator: "\n").joined(separator: " ") + result.errors
    }

    @Test("A failed flush -> later flushes and migrations fail, and status and log say so until a restart")
    func stays() async throws {
        let device = try await FullDevice(on: scratch.file("small"))
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await stays(device.path, device.makeRoom)) } catch { outcome = .failure(error) }
        try await device.remove()
        try outcome.get()
    }

    private func stays(_ path: String, _ makeRoom: () -> Void) async throws {
        let port = try FreePort.find()
        let destination = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("d/images")])
        var node = try await NodeProcess(scratch.file("s"), [path, "--export", "disk"])
        #expect(try await write(node, "do(h.pwrite, bytes(b'x' * 4194304), 1048576)") == "ok")
        // The migration finds the failure before any client does.
        let migration = ["migrate", "disk", "--to", "127.0.0.1:\(port)", "--switch", "now"]
        let first = try await node.ask(migration)
        #expect(first.status != 0 && first.errors.contains("flush \(path)"), "\(first)")
        makeRoom()
        let forced = "do(h.pwrite, b'y' * 512, 0, nbd.CMD_FLAG_FUA)"
        let later = "do(h.flush); do(h.flush); \(forced); do(h.pwrite, b'y' * 512, 0)"
        for _ in 0..<2 { #expect(try await write(node, later) == "failed failed failed ok") }
        for options in [migration, ["migrate", "disk", "--to", "127.0.0.1:\(port)"]] {
            let refused = try await node.ask(options)
            #expect(refused.status != 0 && refused.errors.contains("every flush fails"), "\(refused)")
        }
        let status = try await node.exports()
        #expect(status.first?["state"] as? String == "serving")
        #expect((status.first?["problem"] as? String)?.contains("every flush fails") == true, "\(status)")
        try await node.wait(for: "every flush fails")
        #expect(try await destination.exports().isEmpty)
        #expect(try await node.stop() == 0)
        node = try await NodeProcess(scratch.file("s"), [path, "--export", "disk"])
        #expect(try await write(node, "do(h.pwrite, b'z' * 512, 0); do(h.flush)") == "ok ok")
        #expect(try await node.exports().first?["problem"] == nil)
        #expect(try await node.stop() == 0)
        #expect(try await destination.stop() == 0)
    }
}
