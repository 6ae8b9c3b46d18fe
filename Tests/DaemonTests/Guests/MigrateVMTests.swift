import Foundation
import TestSupport
import Testing

/// nbd-scripts/migrate-vm with a QEMU that has no system: refusals of the node at the destination, and what is left of them.
@Suite("Moves of a machine that are refused", .timeLimit(.minutes(10)), .enabled(if: geteuid() == 0))
final class MigrateVMTests {
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../../nbd-scripts/migrate-vm").standardizedFileURL.path
    private static let nobody: uid_t = 65534

    private let scratch = Scratch()
    private let port: UInt16
    private let source: NodeProcess

    init() async throws {
        port = try FreePort.find()
        chmod(scratch.path, 0o755)
        source = try await NodeProcess(
            scratch.file("s"), [try scratch.hole(1 << 20, "web.raw"), "--export", "web"])
        for folder in ["d", "d/memory", "d/images", "d/state"] {
            mkdir(scratch.file(folder), 0o755)
            chown(scratch.file(folder), Self.nobody, 0)
        }
        let here = try await Command.run("sh", "-c", qemu("here", node: "s"))
        #expect(here.status == 0, "\(here)")
    }

    deinit {
        for name in ["here", "there"] {
            let number = (try? String(contentsOfFile: scratch.file("\(name).pid"), encoding: .utf8)) ?? ""
            if let process = pid_t(number.trimmingCharacters(in: .whitespacesAndNewlines)) { kill(process, SIGKILL) }
        }
    }

    private func qemu(_ name: String, node: String, _ more: String = "") -> String {
        """
        qemu-system-x86_64 -name web -machine q35 -m 16 -display none -daemonize -pidfile \(scratch.file("\(name).pid")) \
        -qmp unix:\(scratch.file("\(name).qmp")),server=on,wait=off -blockdev driver=nbd,node-name=web,server.type=unix,\
        server.path=\(scratch.file("\(node)/nbd.sock")),export=web -device virtio-blk-pci,drive=web \(more)
        """
    }

    private func move(_ more: String = "") async throws -> Command.Result {
        try await Command.run(
            "python3",
            [
                Self.script, "--nearblock", Nearblock.path, "--qmp", scratch.file("here.qmp"), "--qmp-there",
                scratch.file("there.qmp"), "--disk", "web", "--memory-socket", scratch.file("here.sock"), "--control",
                source.control, "--control-there",
                scratch.file("d/control.sock"), "--to", "127.0.0.1:\(port)", "--start",
                qemu("there", node: "d", "-incoming defer \(more)"),
            ])
    }

    private var destination: [String] {
        [
            "--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("d/images"), "--memory-dir",
            scratch.file("d/memory"),
        ]
    }

    private func expectNothingLeft() async throws {
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.file("d/memory")).isEmpty)
        let monitor = try await Command.run(
            "python3", "-c", "import socket; socket.socket(socket.AF_UNIX).connect('\(scratch.file("there.qmp"))')")
        #expect(monitor.status != 0, "QEMU there has ended")
        #expect(try await source.exports().first?["state"] as? String == "serving")
    }

    @Test("The node there refuses the memory -> its reason, no broken pipe alone, and neither QEMU nor socket are left")
    func refused() async throws {
        chown(scratch.file("d/memory"), 0, 0)
        let node = try await NodeProcess(scratch.file("d"), destination)
        chmod(scratch.file("d/memory"), 0o777)
        let result = try await move()
        #expect(result.status == 1, "\(result)")
        let last = result.errors.split(separator: "\n").last ?? ""
        #expect(last.contains("others may write to its folder of hypervisors"), "\(result)")
        #expect(last.contains("the guest goes on here"), "\(result)")
        try await expectNothingLeft()
        // Nothing stands in the way of the next attempt.
        chmod(scratch.file("d/memory"), 0o755)
        let again = try await move()
        #expect(again.status == 0, "\(again)")
        #expect(try await node.stop() == 0)
    }

    @Test("QEMU there as another user than its node -> a line that says so before the disk is copied; -runas mends it")
    func user() async throws {
        let log = try scratch.write([], to: "log")
        let identity = ["--reuid=\(Self.nobody)", "--regid=\(Self.nobody)", "--clear-groups", Nearblock.path, "serve"]
        let places = [
            "--control", scratch.file("d/control.sock"), "--state", scratch.file("d/state"), "--socket",
            scratch.file("d/nbd.sock"),
        ]
        let node = try ChildProcess("/usr/bin/setpriv", identity + places + destination, errors: log)
        try await waitUntil("the node is ready") {
            try String(contentsOfFile: log, encoding: .utf8).contains("ready: ")
        }
        let result = try await move()
        #expect(result.status == 1 && result.errors.contains("runs as root, and its node as nobody"), "\(result)")
        #expect(result.errors.contains("start QEMU there with -runas nobody"), "\(result)")
        #expect(!result.errors.contains("copying the disks"), "\(result)")
        try await expectNothingLeft()
        let mended = try await move("-runas nobody")
        #expect(mended.status == 0, "\(mended)")
        node.signal(SIGTERM)
        _ = try await onThread { node.waitUntilExit() }
    }
}
