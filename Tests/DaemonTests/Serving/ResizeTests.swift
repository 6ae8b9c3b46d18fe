import Foundation
import TestSupport
import Testing

/// `nearblock resize`.
@Suite("Growing an export", .timeLimit(.minutes(10)))
struct ResizeTests {
    private let scratch = Scratch()

    private func size(at node: NodeProcess) async throws -> String {
        try await Command.run("nbdinfo", "--size", node.uri()).output.trimmingCharacters(in: .newlines)
    }

    private func expectRefused(_ answer: Command.Result, _ reason: String) {
        #expect(answer.status == 1, "\(answer)")
        #expect(answer.errors.contains(reason), "\(answer.errors)")
        #expect(answer.errors.filter { $0 == "\n" }.count == 1, "\(answer.errors)")
    }

    /// Resizes while a client is connected, and compares what that client and a new one see.
    private static let clients = """
        import nbd, subprocess, sys
        uri, commands = sys.argv[1], sys.argv[2:]
        def connect():
            h = nbd.NBD()
            h.set_strict_mode(0)
            h.connect_uri(uri)
            return h
        old = connect()
        before = old.get_size()
        for command in commands: subprocess.run(command, shell=True, check=True)
        new = connect()
        end = new.get_size()
        assert end == before + (2 << 20) and old.get_size() == before, (before, end)
        assert new.pread(4096, end - 4096) == bytes(4096)
        new.pwrite(b'n' * 4096, end - 4096)
        new.pwrite(b'n' * 4096, before)
        for use in (lambda: old.pread(512, before), lambda: old.pwrite(b'o' * 512, before)):
            try:
                use()
                raise SystemExit('beyond the end that it was told')
            except nbd.Error as error: assert error.errnum in (22, 28), error
        old.pwrite(b'o' * 4096, before - 4096)
        assert new.pread(8192, before - 4096) == b'o' * 4096 + b'n' * 4096
        new.flush()

        """

    private func grow(_ node: NodeProcess, _ commands: String...) async throws {
        let script = try scratch.write(Array(Self.clients.utf8), to: "clients.py")
        let result = try await Command.run("python3", [script, node.uri()] + commands)
        #expect(result.status == 0, "\(result.errors)")
    }

    private func resize(_ node: NodeProcess, _ size: String = "") -> String {
        "\(Nearblock.path) resize disk \(size) --control \(node.control)"
    }

    @Test("A file, by the command -> new clients see the size, connected ones keep theirs; it survives a restart")
    func file() async throws {
        let image = try scratch.write([UInt8](repeating: 1, count: 4 << 20), to: "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk", "--dirty-bitmap", "b"])
        try await grow(node, resize(node, "6M"))
        #expect(try await node.exports()[0]["size"] as? Int == 6 << 20)
        try await node.kill()
        let next = try await NodeProcess(scratch.file("node"), [image, "--export", "disk"])
        #expect(try await size(at: next) == "\(6 << 20)")
    }

    @Test(
        "A file or device that has grown -> taken over", .enabled(if: LoopDevice.isPossible), arguments: [false, true])
    func grown(isDevice: Bool) async throws {
        let file = try scratch.write([UInt8](repeating: 1, count: 4 << 20), to: "disk.raw")
        let device = try await LoopDevice(file: scratch.hole(4 << 20, "other"), sectorSize: 512)
        let path = device.path
        let outcome: Result<Void, any Error>
        do {
            let node = try await NodeProcess(scratch.file("node"), [isDevice ? path : file, "--export", "disk"])
            expectRefused(try await node.ask(["resize", "disk"]), "has \(4 << 20) bytes")
            if isDevice {
                expectRefused(try await node.ask(["resize", "disk", "6M"]), "is a device")
                try await grow(
                    node, "truncate -s 6M \(scratch.file("other"))", "/usr/sbin/losetup -c \(path)", resize(node))
            } else {
                try await grow(node, "truncate -s 6M \(file)", resize(node))
            }
            #expect(try await node.stop() == 0)
            outcome = .success(())
        } catch { outcome = .failure(error) }
        try await device.remove()
        try outcome.get()
    }

    @Test("A qcow2 image under a client, by the command -> new clients see the size; the snapshot and the bitmap stay")
    func format() async throws {
        let image = scratch.file("disk.qcow2")
        for (program, arguments) in [
            ("qemu-img", ["create", "-q", "-f", "qcow2", image, "4M"]),
            ("qemu-io", ["-f", "qcow2", "-c", "write -P 1 0 4M", image]),
            ("qemu-img", ["snapshot", "-c", "before", image]),
        ] {
            let made = try await Command.run(program, arguments)
            #expect(made.status == 0, "\(made)")
        }
        let node = try await NodeProcess(
            scratch.file("node"), [image, "--export", "disk", "--format", "qcow2", "--dirty-bitmap", "b"])
        expectRefused(try await node.ask(["resize", "disk", "2M"]), "only made larger")
        expectRefused(try await node.ask(["resize", "disk"]), "has \(4 << 20) bytes")
        try await grow(node, resize(node, "6M"))
        #expect(try await node.exports()[0]["size"] as? Int == 6 << 20)
        #expect(try await node.exports()[0]["problem"] == nil)
        // A second time, on the helper that is there now.
        try await grow(node, resize(node, "8M"))
        #expect(try await node.stop() == 0)
        #expect(try await Command.run("qemu-img", "check", image).status == 0)
        let snapshots = try await Command.run("qemu-img", "snapshot", "-l", image)
        #expect(snapshots.output.contains("before"), "\(snapshots)")
    }

    @Test("A helper's image that can't be opened again at once -> tried again, and served as soon as it can be")
    func openedAgain() async throws {
        let (image, away) = (scratch.file("disk.qcow2"), scratch.file("away"))
        #expect(try await Command.run("qemu-img", "create", "-q", "-f", "qcow2", image, "4M").status == 0)
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk", "--format", "qcow2"])
        #expect(rename(image, away) == 0)
        expectRefused(try await node.ask(["resize", "disk"]), "can't be opened again")
        expectRefused(try await node.ask(["resize", "disk", "6M"]), "is being made larger")
        let problem = try await node.exports()[0]["problem"] as? String
        #expect(problem?.contains("can't be opened again") == true, "\(problem ?? "none")")
        #expect(rename(away, image) == 0)
        try await node.wait(for: "has been opened again")
        #expect(try await node.exports()[0]["problem"] == nil)
        try await grow(node, resize(node, "6M"))
        #expect(try await node.stop() == 0)
        #expect(try await Command.run("qemu-img", "check", image).status == 0)
    }

    /// A server whose new connections wait as long as there is a file `closed`.
    private func startServer(of file: String, on socket: String) throws -> ChildProcess {
        try ChildProcess(
            "/usr/bin/nbdkit",
            [
                "-f", "-U", socket, "eval", "get_size=stat -c %s \(file)",
                "open=touch \(scratch.file("asked")); while [ -e \(scratch.file("closed")) ]; do sleep 0.02; done",
                "pread=dd if=\(file) iflag=skip_bytes,count_bytes skip=$4 count=$3 status=none",
            ])
    }

    @Test("A reload while a disk is made larger -> its settings apply, other commands are kept out, and the disk grows")
    func reloaded() async throws {
        let file = try scratch.write([UInt8](repeating: 1, count: 4 << 20), to: "disk.raw")
        let (socket, asked) = (scratch.file("kit.sock"), scratch.file("asked"))
        let server = try startServer(of: file, on: socket)
        let uri = "nbd+unix:///?socket=\(socket)"
        try await waitUntil("nbdkit answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
        let other = "[export other]\nimage = \(try scratch.hole(1 << 20, "other"))\n"
        func configure(_ words: String) throws -> String {
            let disk = "[export disk]\nimage = \(uri)\ndescription = \(words)\n"
            return try scratch.write(Array((disk + other).utf8), to: "n.conf")
        }
        let node = try await NodeProcess(scratch.file("node"), ["--config", configure("first")])
        _ = try scratch.write([], to: "closed")
        unlink(asked)
        truncate(file, 6 << 20)
        async let resized = node.ask(["resize", "disk"])
        try await waitUntil("the server is asked") { access(asked, F_OK) == 0 }
        _ = try configure("second")
        let reloaded = try await node.ask(["reload"])
        #expect(reloaded.status == 0 && reloaded.output.contains("disk has new settings"), "\(reloaded)")
        expectRefused(try await node.ask(["migrate", "disk", "--to", "127.0.0.1:1"]), "is being made larger")
        // A reload that takes it out finds it busy.
        _ = try scratch.write(Array(other.utf8), to: "n.conf")
        expectRefused(try await node.ask(["reload"]), "is being made larger")
        _ = try configure("second")
        unlink(scratch.file("closed"))
        let result = try await resized
        #expect(result.status == 0, "\(result)")
        let seen = try await Command.run("nbdinfo", node.uri()).output
        #expect(seen.contains("second") && seen.contains("\(6 << 20)"), "\(seen)")
        expectRefused(try await node.ask(["resize", "disk"]), "has \(6 << 20) bytes")
        #expect(try await node.stop() == 0)
        server.signal(SIGTERM)
    }

    @Test("Another server's disk that has grown -> taken over; before that nothing changes")
    func server() async throws {
        let file = try scratch.write([UInt8](repeating: 1, count: 4 << 20), to: "disk.raw")
        let socket = scratch.file("kit.sock")
        let server = try ChildProcess("/usr/bin/nbdkit", ["-f", "-U", socket, "file", file])
        let uri = "nbd+unix:///?socket=\(socket)"
        try await waitUntil("nbdkit answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
        let node = try await NodeProcess(scratch.file("node"), [uri, "--export", "disk"])
        expectRefused(try await node.ask(["resize", "disk"]), "has \(4 << 20) bytes")
        expectRefused(try await node.ask(["resize", "disk", "6M"]), "is not a file here")
        try await grow(node, "truncate -s 6M \(file)", resize(node))
        #expect(try await size(at: node) == "\(6 << 20)")
        // Started again with a larger disk: old connections can't be made again.
        server.signal(SIGKILL)
        unlink(socket)
        truncate(file, 8 << 20)
        let next = try ChildProcess("/usr/bin/nbdkit", ["-f", "-U", socket, "file", file])
        try await waitUntil("nbdkit answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
        #expect(try await node.ask(["resize", "disk"]).status == 0, "\(node.messages)")
        #expect(try await size(at: node) == "\(8 << 20)")
        #expect(try await Command.run("nbdsh", "-u", node.uri(), "-c", "print(h.pread(1, 7 << 20))").status == 0)
        #expect(try await node.stop() == 0)
        next.signal(SIGTERM)
    }

    @Test("Smaller, equal, read-only or too large -> refused, and the size stays")
    func refused() async throws {
        let image = try scratch.hole(4 << 20, "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk"])
        expectRefused(try await node.ask(["resize", "disk", "2M"]), "only made larger")
        expectRefused(try await node.ask(["resize", "disk", "4M"]), "only made larger")
        expectRefused(try await node.ask(["resize", "disk", "9999999T"]), "File too large")
        expectRefused(try await node.ask(["resize", "other", "6M"]), "there is no export 'other'")
        #expect(try await node.ask(["resize", "disk", "x"]).status == 2)
        #expect(try await size(at: node) == "\(4 << 20)")
        let reader = try await NodeProcess(scratch.file("reader"), [image, "--export", "disk", "--read-only"])
        expectRefused(try await reader.ask(["resize", "disk", "6M"]), "read-only")
        var info = stat()
        #expect(stat(image, &info) == 0 && info.st_size == 4 << 20)
    }

    @Test(
        "A format that QEMU can't make larger -> refused, and served on as before", arguments: ["vmdk", "vhdx", "vdi"])
    func fixedFormats(format: String) async throws {
        let image = scratch.file("disk.\(format)")
        #expect(try await Command.run("qemu-img", "create", "-q", "-f", format, image, "4M").status == 0)
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk", "--format", format])
        expectRefused(try await node.ask(["resize", "disk", "6M"]), "does not support resize")
        #expect(try await node.exports()[0]["problem"] == nil)
        let used = try await Command.run(
            "nbdsh", "-u", node.uri(), "-c", "h.pwrite(b'x', 0); h.flush(); print(h.get_size())")
        #expect(used.output == "\(4 << 20)\n", "\(used)")
    }

    @Test("During a migration, while blocks are missing, and after it -> refused; then grown at the destination")
    func migrating() async throws {
        let nodes = try await TwoNodes()
        try await nodes.beginSlowMigration()
        expectRefused(try await nodes.source.ask(["resize", "disk", "9M"]), "is being migrated")
        #expect(try await nodes.source.ask(["cancel", "disk"]).status == 0)
        // On a busy machine its answer may come before the end of the migration.
        try await waitUntil("the migration has ended") {
            try await nodes.source.exports().first?["state"] as? String == "serving"
        }
        #expect(try await nodes.source.ask(["resize", "disk", "9M"]).status == 0)
        let begun = try await nodes.migrate(["--switch", "now", "--rate", "1M", "--detach"])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it is served there") {
            try await nodes.destination.exports().first?["missing"] != nil
        }
        expectRefused(try await nodes.source.ask(["resize", "disk", "10M"]), "disk")
        expectRefused(try await nodes.destination.ask(["resize", "disk", "10M"]), "has missing blocks")
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("the source is released") {
            try await nodes.source.exports().first?["state"] as? String == "released"
        }
        expectRefused(try await nodes.source.ask(["resize", "disk", "10M"]), "has moved")
        #expect(try await size(at: nodes.destination) == "\(9 << 20)")
        let grown = try await nodes.destination.ask(["resize", "disk", "10M"])
        #expect(grown.status == 0, "\(grown.errors)")
        try await nodes.restartDestination()
        #expect(try await size(at: nodes.destination) == "\(10 << 20)")
    }
}
