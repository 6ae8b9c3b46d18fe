import Foundation
import TestSupport
import Testing

/// Permissions of arriving images and of sockets, and file names of arriving images.
@Suite("Modes, groups and names", .timeLimit(.minutes(10)))
struct PermissionTests {
    private let scratch = Scratch()
    private static let isRoot = geteuid() == 0

    private func status(_ path: String) throws -> (mode: mode_t, group: gid_t, owner: uid_t) {
        var info = stat()
        guard lstat(path, &info) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        return (info.st_mode & 0o777, info.st_gid, info.st_uid)
    }

    private func destination(_ name: String, _ port: UInt16, _ options: [String] = []) async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file(name),
            ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")] + options)
    }

    private func source(_ export: String, megabytes: Int = 1) async throws -> NodeProcess {
        try scratch.makeImage("source-\(export)", megabytes: megabytes)
        return try await NodeProcess(
            scratch.file("s-\(export)"), [scratch.file("source-\(export)"), "--export", export])
    }

    private func migrate(_ export: String, from node: NodeProcess, to port: UInt16) async throws -> Command.Result {
        try await node.ask(["migrate", export, "--to", "127.0.0.1:\(port)"])
    }

    /// Returns whether the disk has moved and nothing more of it is needed.
    private func isFree(_ node: NodeProcess) async throws -> Bool {
        ["moved", "released"].contains(try await node.exports().first?["state"] as? String)
    }

    private func group(_ name: String) throws -> gid_t { try #require(getgrnam(name)).pointee.gr_gid }

    // MARK: Images

    @Test("--image-mode and --image-group -> applied from the first byte on")
    func images() async throws {
        let port = try FreePort.find()
        let owners = Self.isRoot ? ["--image-group", "daemon"] : []
        let node = try await destination("d", port, ["--image-mode", "0640"] + owners)
        let source = try await source("disk", megabytes: 4)
        let begun = try await source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(port)", "--rate", "1M", "--detach",
        ])
        #expect(begun.status == 0, "\(begun)")
        try await waitUntil("it arrives") {
            FileManager.default.fileExists(atPath: scratch.file("images/disk.raw.incoming"))
        }
        let arriving = try status(scratch.file("images/disk.raw.incoming"))
        // Look at the file when it is created: only its owner may have access.
        #expect([0o640, 0o600].contains(arriving.mode))
        #expect(try await source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it is here") { FileManager.default.fileExists(atPath: scratch.file("images/disk.raw")) }
        let arrived = try status(scratch.file("images/disk.raw"))
        #expect(arrived.mode == 0o640)
        if Self.isRoot { #expect(try arrived.group == group("daemon")) }
        #expect(try await source.stop() == 0)
        #expect(try await node.stop() == 0)
    }

    @Test("No options -> only the owner has access; a configuration file has the same keys")
    func configured() async throws {
        let port = try FreePort.find()
        let plain = try await destination("d", port)
        let first = try await source("plain")
        #expect(try await migrate("plain", from: first, to: port).status == 0)
        #expect(try status(scratch.file("images/plain.raw")).mode == 0o600)
        #expect(try await plain.stop() == 0)
        let text = "[node]\nimage-mode = 0660\nsocket-mode = 0666\n"
        let path = try scratch.write(Array(text.utf8), to: "n.conf")
        let node = try await destination("e", port, ["--config", path])
        let second = try await source("other")
        #expect(try await migrate("other", from: second, to: port).status == 0)
        #expect(try status(scratch.file("images/other.raw")).mode == 0o660)
        #expect(try status("\(node.folder)/nbd.sock").mode == 0o666)
        #expect(try await node.stop() == 0)
    }

    @Test("The operator changes permissions meanwhile -> they stay, also for a disk that comes back")
    func kept() async throws {
        let nodes = try await TwoNodes(megabytes: 8, sourceTakesDisks: true)
        try await nodes.beginSlowMigration()
        let partial = "\(nodes.images)/disk.raw.incoming"
        try await waitUntil("it arrives") { FileManager.default.fileExists(atPath: partial) }
        let owner: uid_t = Self.isRoot ? 1 : getuid()
        #expect(chmod(partial, 0o664) == 0 && chown(partial, owner, Self.isRoot ? 1 : gid_t.max) == 0)
        try await nodes.restartDestination()
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it is there") {
            FileManager.default.fileExists(atPath: "\(nodes.images)/disk.raw")
        }
        let there = try status("\(nodes.images)/disk.raw")
        #expect(there.mode == 0o664 && there.owner == owner)

        let home = nodes.scratch.file("disk.raw")
        #expect(chmod(home, 0o604) == 0)
        try await waitUntil("the source is free") { try await isFree(nodes.source) }
        let back = try await nodes.destination.ask(["migrate", "disk", "--to", "127.0.0.1:\(nodes.sourcePort)"])
        #expect(back.status == 0, "\(back)")
        #expect(try status(home).mode == 0o604)
        #expect(try status("\(nodes.images)/disk.raw").mode == 0o664)
    }

    // MARK: Names

    @Test("An export x.raw -> arrives as x.raw; another export with that file -> refused")
    func names() async throws {
        let port = try FreePort.find()
        let node = try await destination("d", port)
        let first = try await source("x.raw")
        #expect(try await migrate("x.raw", from: first, to: port).status == 0)
        let files = { try FileManager.default.contentsOfDirectory(atPath: self.scratch.file("images")).sorted() }
        #expect(try files() == ["x.raw"])
        #expect(try scratch.contents("images/x.raw") == scratch.contents("source-x.raw"))

        let second = try await source("x")
        for options in [[], ["--dry-run"]] {
            let refused = try await second.ask(["migrate", "x", "--to", "127.0.0.1:\(port)"] + options)
            #expect(refused.status == 5, "\(refused)")
            #expect(refused.errors.contains("x.raw, which is the file of x.raw; give one"), "\(refused)")
            #expect(refused.errors.filter { $0 == "\n" }.count == 1, "\(refused)")
        }
        // The node must recognise it after a restart.
        try await node.kill()
        let again = try await destination("d", port)
        #expect(try await Command.run("nbdinfo", "--size", again.uri("x.raw")).output == "1048576\n")
        #expect(try await migrate("x", from: second, to: port).status == 5)
        #expect(try await second.exports().first?["state"] as? String == "serving")
        let third = try await source("x.raw.raw")
        #expect(try await migrate("x.raw.raw", from: third, to: port).status == 0)
        #expect(try files() == ["x.raw", "x.raw.raw"])
        #expect(try await again.stop() == 0)
    }

    @Test("Two arriving exports with one file -> one is refused")
    func namesAtOnce() async throws {
        let port = try FreePort.find()
        let node = try await destination("d", port)
        let first = try await source("x", megabytes: 4)
        let second = try await source("x.raw")
        #expect(
            try await first.ask(["migrate", "x", "--to", "127.0.0.1:\(port)", "--rate", "1M", "--detach"]).status == 0)
        try await waitUntil("it arrives") {
            FileManager.default.fileExists(atPath: scratch.file("images/x.raw.incoming"))
        }
        let refused = try await migrate("x.raw", from: second, to: port)
        #expect(refused.status == 5 && refused.errors.contains("which is the file of x;"), "\(refused)")
        #expect(try await first.ask(["rate", "x"]).status == 0)
        try await waitUntil("it is here") { try await isFree(first) }
        #expect(try scratch.contents("images/x.raw") == scratch.contents("source-x"))
        #expect(try await node.stop() == 0)
    }

    @Test("A disk of an earlier release at x.raw.raw -> goes on there, with its record")
    func earlierNames() async throws {
        let port = try FreePort.find()
        let node = try await destination("d", port)
        let first = try await source("x.raw")
        #expect(try await migrate("x.raw", from: first, to: port).status == 0)
        #expect(try await node.stop() == 0)
        // State of the earlier release: the record's name is a digest of the image's real path.
        let images = scratch.file("images")
        let script = """
            import glob, hashlib, os
            os.rename('\(images)/x.raw', '\(images)/x.raw.raw')
            [record] = glob.glob('\(node.folder)/state/incoming-*.json')
            def name(path): return 'incoming-' + hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:32] + '.json'
            assert os.path.basename(record) == name('\(images)/x.raw'), record
            os.rename(record, os.path.join(os.path.dirname(record), name('\(images)/x.raw.raw')))
            """
        let prepared = try await Command.run("python3", "-c", script)
        #expect(prepared.status == 0, "\(prepared)")
        let again = try await destination("d", port)
        let read = try await Command.run("nbdsh", "-u", again.uri("x.raw"), "-c", "print(h.pwrite(b'new', 0))")
        #expect(read.status == 0, "\(read) \(again.messages)")
        // Clients of the source are forwarded to it.
        let through = try await Command.run("nbdsh", "-u", first.uri("x.raw"), "-c", "print(h.pread(3, 0))")
        #expect(through.output.contains("new"), "\(through)")
        // Export x has a file of its own.
        let second = try await source("x")
        #expect(try await migrate("x", from: second, to: port).status == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: images).sorted() == ["x.raw", "x.raw.raw"])
        #expect(try await again.stop() == 0)
    }

    // MARK: Sockets

    @Test("--socket-mode and --socket-group -> applied, and allowed users can connect")
    func sockets() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let owners = Self.isRoot ? ["--socket-group", "daemon"] : []
        let node = try await NodeProcess(
            scratch.file("n"), [image, "--export", "disk", "--socket-mode", "0660"] + owners)
        let found = try status("\(node.folder)/nbd.sock")
        #expect(found.mode == 0o660)
        if Self.isRoot {
            #expect(try found.group == group("daemon"))
            chmod(scratch.path, 0o755)
            chmod(node.folder, 0o755)
            // One user of the group, and one outside.
            func connect(as group: String) async throws -> Int32 {
                try await Command.run(
                    "setpriv", "--reuid=65534", "--regid=\(group)", "--clear-groups", "nbdinfo", "--size", node.uri()
                ).status
            }
            #expect(try await connect(as: "daemon") == 0)
            #expect(try await connect(as: "65534") != 0)
        }
        #expect(try await node.stop() == 0)
    }

    @Test("A new socket -> never more open than configured")
    func socketsMeanwhile() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        // Trace system calls: bind determines the first mode of the file, before any chmod.
        let socket = scratch.file("s")
        let script = """
            umask 0; exec '\(Nearblock.path)' serve '\(image)' --socket '\(socket)' --socket-mode 0600 --run true \
            --state '\(scratch.file("state"))' --control '\(scratch.file("control"))'
            """
        let result = try await Command.run(
            "strace", "-f", "-e", "trace=fchmod,bind", "-o", scratch.file("calls"), "bash", "-c", script)
        #expect(result.status == 0, "\(result)")
        let calls = String(decoding: try scratch.contents("calls"), as: UTF8.self).split(separator: "\n")
        let bind = try #require(calls.firstIndex { $0.contains("bind(") && $0.contains(socket) })
        #expect(calls[..<bind].last { $0.contains("fchmod(") }?.contains("0600") == true, "\(calls)")
    }

    @Test("The mode of a new socket can't be set -> an error at the start, and no socket")
    func socketModeFails() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let result = try await Command.run(
            "strace", "-f", "-e", "trace=fchmod", "-e", "inject=fchmod:error=EPERM", "-o", "/dev/null", Nearblock.path,
            "serve", image, "--socket", scratch.file("s"), "--socket-mode", "0600", "--run", "true", "--state",
            scratch.file("state"))
        #expect(result.status == 1 && result.errors.contains("Operation not permitted"), "\(result)")
        #expect(!FileManager.default.fileExists(atPath: scratch.file("s")))
    }

    // MARK: Mistakes

    @Test(
        "An invalid mode or group -> one line",
        arguments: [
            (["--image-mode", "0440"], "owner must be able"), (["--image-mode", "rw-rw----"], "three octal digits"),
            (["--image-mode", "6600"], "three octal digits"), (["--socket-mode", "0o660"], "three octal digits"),
            (["--socket-mode", "888"], "three octal digits"), (["--image-group", "no-such-group"], "no-such-group"),
            (["--socket-group", "4294967295"], "no group"), (["--socket-group", "99999999999"], "no group"),
        ])
    func mistakes(_ options: [String], _ part: String) async throws {
        let result = try await Nearblock.run(["serve", scratch.file("none")] + options)
        #expect(result.status == 2 && result.errors.contains(part), "\(result)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        let key = String(options[0].dropFirst(2))
        let path = try scratch.write(Array("[node]\n\(key) = \(options[1])\n".utf8), to: "m.conf")
        let read = try await Nearblock.run(["serve", "--config", path])
        #expect(read.status == 1 && read.errors.contains("[node] \(key)") && read.errors.contains(part), "\(read)")
    }

    @Test("A group that the node may not use -> an error at the start", .enabled(if: isRoot))
    func foreignGroup() async throws {
        _ = try scratch.hole(1 << 20, "disk.raw")
        chmod(scratch.path, 0o777)
        chmod(scratch.file("disk.raw"), 0o666)
        func serve(_ options: String...) async throws -> Command.Result {
            let command =
                [Nearblock.path, "serve", "--state", scratch.file("st"), "--control", scratch.file("c")] + options
            return try await Command.run("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups"] + command)
        }
        let images = try await serve(
            "--peer-listen", "127.0.0.1:0", "--images", scratch.file("images"), "--image-group", "daemon")
        #expect(images.status == 1 && images.errors.contains("cannot set group 1, which needs root"), "\(images)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.file("images")).isEmpty)
        let socket = try await serve(
            scratch.file("disk.raw"), "--socket", scratch.file("s"), "--socket-group", "daemon")
        #expect(socket.status == 1 && socket.errors.contains("cannot set group 1, which needs root"), "\(socket)")
        for result in [images, socket] { #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)") }
        #expect(!FileManager.default.fileExists(atPath: scratch.file("s")))
    }
}
