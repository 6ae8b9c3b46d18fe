import Foundation
import TestSupport
import Testing

/// Disks in other formats than raw, which a helper reads and writes for the node.
@Suite("Serving images that are not raw", .timeLimit(.minutes(10)))
struct FormatServingTests {
    private let scratch = Scratch()

    private func make(_ format: String) async throws -> String {
        let path = scratch.file("disk.\(format)")
        let made = try await Command.run("qemu-img", "create", "-f", format, path, "64M")
        #expect(made.status == 0, "\(made)")
        return path
    }

    private func helpers(of node: NodeProcess) -> [pid_t] { Processes.with(argument: "\(node.folder)/state/storage-") }

    @Test(
        "Each format -> what clients write is in the image, and its holes are told",
        arguments: ["qcow2", "vmdk", "vhdx", "vdi"])
    func formats(format: String) async throws {
        let path = try await make(format)
        let node = try await NodeProcess(scratch.file("n"), [path, "--export", "disk", "--format", format])
        let write = "h.pwrite(b'x' * (1 << 20), 8 << 20); h.zero(1 << 20, 9 << 20); h.flush()"
        let written = try await Command.run("nbdsh", "-u", node.uri(), "-c", write)
        #expect(written.status == 0, "\(written)")
        let map = try await Command.run("nbdinfo", "--map", "--totals", node.uri())
        // QEMU 7.2 tells no holes of VHDX.
        #expect(map.output.contains("hole") == (format != "vhdx"), "\(map)")
        #expect(!node.messages.contains("the bytes of the file"), "\(node.messages)")
        #expect(try await node.stop() == 0)
        let check = try await Command.run(
            "qemu-io", "-r", "-f", format, "-c", "read -P 0x78 8M 1M", "-c", "read -P 0 9M 1M", path)
        #expect(check.status == 0 && !check.output.contains("verification failed"), "\(check)")
    }

    @Test("auto -> the format that the first bytes show, and a line that says so")
    func automatic() async throws {
        let path = try await make("qcow2")
        let node = try await NodeProcess(scratch.file("n"), [path, "--export", "disk", "--format", "auto"])
        #expect(try await Command.run("nbdinfo", "--size", node.uri()).output == "67108864\n")
        #expect(node.messages.contains("\(path) is a qcow2 image"), "\(node.messages)")
        #expect(try await node.stop() == 0)
        let raw = try scratch.hole(1 << 20, "disk.raw")
        let other = try await NodeProcess(scratch.file("o"), [raw, "--export", "disk", "--format", "auto"])
        #expect(try await Command.run("nbdinfo", "--size", other.uri()).output == "1048576\n")
        #expect(other.messages.contains("\(raw) is a raw image"), "\(other.messages)")
        #expect(try await other.stop() == 0)
    }

    @Test("A backing file -> named in a line; its blocks are served")
    func backingFile() async throws {
        let base = try scratch.hole(8 << 20, "base.raw")
        _ = try await Command.run("qemu-io", "-f", "raw", "-c", "write -P 9 1M 1M", base)
        let top = scratch.file("top.qcow2")
        _ = try await Command.run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "raw", top)
        let node = try await NodeProcess(scratch.file("n"), [top, "--export", "disk", "--format", "qcow2"])
        #expect(node.messages.contains("read from its backing file, \(base)"), "\(node.messages)")
        let read = try await Command.run("nbdsh", "-u", node.uri(), "-c", "print(h.pread(2, 1 << 20))")
        #expect(read.output == "bytearray(b'\\t\\t')\n", "\(read)")
        #expect(try await node.stop() == 0)
    }

    @Test("A QEMU without io_uring -> its threads serve the disk")
    func withoutRing() async throws {
        let path = try await make("qcow2")
        let refusal = "Parameter 'aio' does not accept value 'io_uring'"
        let script = """
            #!/bin/sh
            case "$*" in *'"aio":"io_uring"'*) echo "qemu-storage-daemon: --blockdev $2: \(refusal)" >&2; exit 1;; esac
            echo "$@" >> \(scratch.file("started"))
            exec /usr/bin/qemu-storage-daemon "$@"
            """
        let program = try scratch.write(Array(script.utf8), to: "qemu-storage-daemon")
        chmod(program, 0o755)
        let node = try await NodeProcess(
            scratch.file("n"), [path, "--export", "disk", "--format", "qcow2", "--direct"],
            environment: ["PATH=\(scratch.path):/usr/bin:/bin"])
        #expect(try await Command.run("nbdinfo", "--size", node.uri()).output == "67108864\n")
        #expect(try await node.stop() == 0)
        let started = String(decoding: try scratch.contents("started"), as: UTF8.self)
        #expect(started.contains("--blockdev") && !started.contains("io_uring"), "\(started)")
    }

    @Test("A json: specification -> served as QEMU does")
    func specification() async throws {
        let path = try await make("qcow2")
        let text = #"json:{"driver":"qcow2","file":{"driver":"file","filename":"\#(path)"}}"#
        let node = try await NodeProcess(scratch.file("n"), [text, "--export", "disk"])
        #expect(try await Command.run("nbdinfo", "--size", node.uri()).output == "67108864\n")
        #expect(try await node.stop() == 0)
    }

    @Test(
        "The helper is killed again and again under a client -> nothing that was flushed is lost, and no request fails")
    func killedUnderLoad() async throws {
        let path = try await make("qcow2")
        let node = try await NodeProcess(scratch.file("n"), [path, "--export", "disk", "--format", "qcow2"])
        let done = scratch.file("done")
        // After a failed flush, the client writes again what it had not flushed: nbd's rule, and every database's.
        let steps = """
            import nbd, random, sys
            h = nbd.NBD(); h.connect_uri("\(node.uri())")
            random.seed(5)
            expected, lost = {}, 0
            import os
            rounds = 0
            while rounds < 100 or not os.path.exists("\(done)"):
                rounds += 1
                batch = {random.randrange(1024): random.randrange(1, 256) for _ in range(16)}
                while True:
                    for block, byte in batch.items(): h.pwrite(bytes([byte]) * 65536, block * 65536)
                    try: h.flush(); break
                    except nbd.Error as e:
                        assert e.errnum == 5, e
                        lost += 1
                expected.update(batch)
                for block in batch: assert h.pread(65536, block * 65536) == bytes([expected[block]]) * 65536
            with open("\(scratch.file("expected"))", "wb") as f:
                for block in range(1024): f.write(bytes([expected.get(block, 0)]) * 65536)
            print(lost)
            """
        let script = try scratch.write(Array(steps.utf8), to: "client.py")
        async let client = Command.run("python3", script)
        for _ in 0..<3 {
            let before = node.messages.components(separatedBy: "it is started again").count
            var helper: pid_t?
            try await waitUntil("there is a helper") {
                helper = helpers(of: node).first
                return helper != nil
            }
            // The client is at work with this one.
            try await Task.sleep(for: .milliseconds(300))
            kill(try #require(helper), SIGKILL)
            try await waitUntil("the end is noticed") {
                node.messages.components(separatedBy: "it is started again").count > before
            }
        }
        _ = try scratch.write([], to: "done")
        let result = try await client
        #expect(result.status == 0, "\(result) \(node.messages)")
        #expect(try await node.stop() == 0)
        let compared = try await Command.run(
            "qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, scratch.file("expected"))
        #expect(compared.status == 0, "\(compared)")
        // A daemon that is killed may leave clusters that nothing refers to, and no damage.
        #expect([0, 3].contains(try await Command.run("qemu-img", "check", path).status))
    }

    @Test("The node is killed -> its helper ends, and the next life serves the disk")
    func killedNode() async throws {
        let path = try await make("qcow2")
        let arguments = [path, "--export", "disk", "--format", "qcow2"]
        let node = try await NodeProcess(scratch.file("n"), arguments)
        let helper = try #require(helpers(of: node).first)
        let write = "h.pwrite(b'x' * 4096, 0); h.flush()"
        #expect(try await Command.run("nbdsh", "-u", node.uri(), "-c", write).status == 0)
        try await node.kill()
        try await waitUntil("the helper has ended") { !helpers(of: node).contains(helper) }
        let next = try await NodeProcess(scratch.file("n"), arguments)
        let read = try await Command.run("nbdsh", "-u", next.uri(), "-c", "print(h.pread(1, 0))")
        #expect(read.output == "bytearray(b'x')\n", "\(read)")
        #expect(try await next.stop() == 0)
        let left = try FileManager.default.contentsOfDirectory(atPath: scratch.file("n/state"))
        #expect(!left.contains { $0.hasPrefix("storage-") }, "\(left)")
    }

    @Test("A format that does not fit -> one line, and no export")
    func refused() async throws {
        let raw = try scratch.hole(1 << 20, "disk.raw")
        let common = ["--state", scratch.file("state"), "--control", scratch.file("control")]
        for (arguments, words) in [
            ([raw, "--format", "qcow2"], "not in qcow2 format"), ([raw, "--format", "tar"], "'tar' is no format"),
            (["nbd+unix:///?socket=/none", "--format", "qcow2"], "leave the format qcow2 out"),
            (["rbd:pool", "--format", "raw"], "rbd:POOL/IMAGE"),
        ] {
            let result = try await Nearblock.run(["serve"] + arguments + common)
            #expect(result.status != 0 && result.errors.contains(words), "\(result)")
        }
    }
}
