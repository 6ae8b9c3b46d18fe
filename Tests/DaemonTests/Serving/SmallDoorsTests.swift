import Foundation
import TestSupport
import Testing

@testable import Daemon
@testable import NBDServer

/// Less obvious ways to reach a node.
@Suite("Small doors", .timeLimit(.minutes(10)))
struct SmallDoorsTests {
    private let scratch = Scratch()

    // MARK: The control socket

    /// Starts a node of a user without a socket directory, so that its default is in /tmp; returns its output until it
    /// is ready. Runs in a mount namespace with its own /tmp.
    /// - Parameter prepare: Shell command that runs before, with the default directory in $d.
    private func startAsUser(_ prepare: String) async throws -> Command.Result {
        let image = try scratch.hole(1 << 20, "disk.raw")
        #expect(chmod(scratch.path, 0o777) == 0 && chmod(image, 0o666) == 0)
        let user = 12345
        let script = """
            mount -t tmpfs -o mode=1777 none /mnt
            cp \(Nearblock.path) /mnt/nearblock; cp \(image) /mnt/disk.raw; chmod 666 /mnt/disk.raw
            mkdir /mnt/tmp; chmod 1777 /mnt/tmp; mount --bind /mnt/tmp /tmp
            d=/tmp/nearblock-\(user)
            \(prepare)
            cat > /mnt/script <<'END'
            /mnt/nearblock serve /mnt/disk.raw --socket /mnt/nbd --state /tmp/state 2>/tmp/log &
            for i in $(seq 1000); do grep -q ready /tmp/log && break; sleep 0.01; done
            /mnt/nearblock status; echo "status $?"
            stat -c '%a %F' /tmp/nearblock-\(user) /tmp/nearblock-\(user)/control.sock
            kill %1; wait; cat /tmp/log
            END
            env -u XDG_RUNTIME_DIR setpriv --reuid=\(user) --regid=\(user) --clear-groups bash /mnt/script
            """
        return try await Command.run("unshare", ["-m", "bash", "-c", script])
    }

    @Test(
        "Default directory in /tmp -> created for its owner only; the owner's existing one -> closed to others",
        .enabled(if: geteuid() == 0))
    func ownDirectory() async throws {
        for prepare in ["", "mkdir $d; chown 12345 $d; chmod 755 $d", "mkdir $d; chown 12345 $d; chmod 700 $d"] {
            let result = try await startAsUser(prepare)
            #expect(result.output.contains("status 0") && result.output.contains("700 directory"), "\(result)")
            #expect(result.output.contains("600 socket"), "\(result)")
        }
    }

    @Test(
        "Default directory of another user, a link, or writable for others -> refused by node and commands",
        .enabled(if: geteuid() == 0),
        arguments: [
            "mkdir $d; chmod 777 $d", "mkdir $d; chown 12345 $d; chmod 777 $d",
            "mkdir $d; chown 12345 $d; chmod 720 $d", "mkdir /tmp/x; chown 12345 /tmp/x; ln -s /tmp/x $d", "touch $d",
        ])
    func foreignDirectory(_ prepare: String) async throws {
        let result = try await startAsUser(prepare)
        #expect(result.output.contains("status 1"), "\(result)")
        #expect(result.output.contains("ready"), "the disk is served: \(result)")
        #expect(!result.output.contains("600 socket"), "\(result)")
        let lines = result.output.split(separator: "\n").filter { $0.contains("no control socket") }
        #expect(lines.count == 1 && lines[0].contains("0700") && lines[0].contains("--control"), "\(result)")
        #expect(result.errors.contains("is not safe"), "the command: \(result)")
    }

    @Test("A new control socket -> its file is created with its final mode")
    func boundPrivately() throws {
        let path = scratch.file("control")
        for _ in 1...2 {
            // The second start replaces the first one's leftover.
            let descriptor = try ControlSocket.open(at: path)
            defer { close(descriptor) }
            var info = stat()
            #expect(lstat(path, &info) == 0 && info.st_mode == S_IFSOCK | 0o600)
        }
        let file = try scratch.write([1], to: "file")
        #expect(throws: ControlError.self) { try ControlSocket.open(at: file) }
        #expect(try scratch.contents("file") == [1])
        #expect(throws: ControlError.self) { try ControlSocket.open(at: "") }
        let long = scratch.file(String(repeating: "x", count: 108))
        #expect(throws: ControlError.self) { try ControlSocket.open(at: long) }
    }

    @Test("A socket on which this process listens -> refused, and its server sees nobody come")
    func ownSocket() throws {
        let path = scratch.file("memory")
        let descriptor = try ControlSocket.open(at: path)
        defer { close(descriptor) }
        let file = SocketFile(path: path)
        #expect(throws: ControlError.self) { try ControlSocket.open(at: path) }
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&waiting, 1, 0) == 0)
        file.remove()
        #expect(access(path, F_OK) != 0)
    }

    @Test("A control socket with a full queue of clients -> is not taken for a leftover")
    func fullQueue() throws {
        let path = scratch.file("control")
        let alive = try UnixAddress.listen(at: path, backlog: 1)
        let waiting = try UnixAddress.fillQueue(at: path)
        defer { for descriptor in [alive] + waiting { close(descriptor) } }
        let error = #expect(throws: ControlError.self) { try ControlSocket.open(at: path) }
        #expect("\(try #require(error))".contains("another node"))
        #expect(access(path, F_OK) == 0)
    }

    @Test("A node that starts while another replaces a control socket -> waits, and leaves that one its socket")
    func startsBesideAnother() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let path = scratch.file("control")
        close(try UnixAddress.listen(at: path))
        let folder = open(scratch.path, O_RDONLY | O_DIRECTORY)
        defer { close(folder) }
        // As another node that has found that nobody listens there.
        try #require(flock(folder, LOCK_EX | LOCK_NB) == 0)
        let (state, errors) = (scratch.file("state"), try scratch.write([], to: "log"))
        let node = try ChildProcess(
            Nearblock.path, ["serve", image, "--listen", "127.0.0.1:0", "--control", path, "--state", state],
            errors: errors)
        func said() throws -> String { String(decoding: try scratch.contents("log"), as: UTF8.self) }
        // It replaces the file once it has its state, unless it is kept off.
        try await waitUntil("it starts") { access("\(state)/lock", F_OK) == 0 }
        try await Task.sleep(for: .milliseconds(300))
        let fresh = try UnixAddress.listen(at: path)
        defer { close(fresh) }
        flock(folder, LOCK_UN)
        try await waitUntil("it serves or ends") { try !node.isRunning || said().contains("ready") }
        node.signal(SIGTERM)
        #expect(try await onThread { node.waitUntilExit() } == 1)
        let log = try said()
        #expect(log.contains("another node has the control socket"), "\(log)")
    }

    @Test("A node that ends -> leaves the control socket that another has put in the place of its own")
    func leavesAnother() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [image])
        unlink(node.control)
        let fresh = try UnixAddress.listen(at: node.control)
        defer { close(fresh) }
        #expect(try await node.stop() == 0)
        #expect(access(node.control, F_OK) == 0)
    }

    @Test("A hundred clients send nothing or half a command -> other commands are answered")
    func halfCommands() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let script = """
            import atexit, resource, signal, socket, subprocess, sys, time
            # Whatever goes wrong, the node goes too.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            log = "\(scratch.file("log"))"
            few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
            node = subprocess.Popen(sys.argv[1:], stderr=open(log, "w"), preexec_fn=few)
            atexit.register(node.kill)
            while "ready: " not in open(log).read():
                assert node.poll() is None
                time.sleep(0.01)
            def client(said):
                s = socket.socket(socket.AF_UNIX)
                s.settimeout(10)
                s.connect("\(scratch.file("control"))")
                if said: s.sendall(said)
                return s
            held = [client(b'{"status":' if half % 2 else None) for half in range(120)]
            for each in range(5):
                try:
                    print("status" in client(b'{"status":{}}\\n').makefile().readline())
                except OSError as error:
                    print(error)
            # What has waited longest has gone for the others.
            try: print("first gone:", held[0].recv(1) == b"")
            except OSError as error: print("first gone:", error)
            # Whoever says nothing goes after a while, too.
            held[-1].settimeout(50)
            print("last gone:", held[-1].recv(1) == b"")
            node.terminate()
            print(node.wait())
            """
        let result = try await Command.run(
            "python3",
            [
                "-c", script, Nearblock.path, "serve", image, "--socket", scratch.file("nbd"), "--state",
                scratch.file("state"), "--control", scratch.file("control"),
            ])
        let answers = String(repeating: "True\n", count: 5)
        #expect(result.output == answers + "first gone: True\nlast gone: True\n0\n", "\(result)")
    }

    // MARK: NBD clients

    @Test("Clients beyond max-connections -> logged, a hundred of them in no more lines")
    func refused() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let path = try scratch.write(
            Array("[export disk]\nimage = \(image)\nmax-connections = 1\n".utf8), to: "n.conf")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        let script = """
            import nbd
            first = nbd.NBD()
            first.connect_uri('\(node.uri())')
            for each in range(20):
                try:
                    nbd.NBD().connect_uri('\(node.uri())')
                    print("let in")
                except nbd.Error: pass
            """
        let result = try await Command.run("python3", "-c", script)
        #expect(result.status == 0 && result.output.isEmpty, "\(result)")
        let lines = node.messages.split(separator: "\n").filter { $0.contains("max-connections") }
        #expect(lines.count == 1 && lines[0].contains("disk: a client was refused, as it has 1 already"), "\(lines)")
        #expect(try await node.stop() == 0)
    }

    // MARK: Client certificates that can be avoided

    @Test("Client certificates required, but TLS optional -> refused at the start")
    func optionalVerification() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let certificates = try await Certificates()
        let directory = try await certificates.directory()
        func serve(_ lines: String, _ export: String, _ options: [String]) async throws -> Command.Result {
            let text = "[node]\n\(lines)\n[export disk]\nimage = \(image)\n\(export)\n"
            let path = try scratch.write(Array(text.utf8), to: "n.conf")
            return try await Nearblock.run(
                ["serve", "--config", path, "--run", "true", "--state", scratch.file("state")] + options)
        }
        let tls = "tls = \(directory)\n"
        for (lines, options) in [
            (tls + "tls-mode = optional\ntls-verify-client = true", []),
            (tls, ["--tls-mode", "optional", "--tls-verify-client"]),
            (tls + "tls-verify-client = true", ["--tls-mode", "optional"]),
        ] {
            let result = try await serve(lines, "", options)
            #expect(result.status == 1 && result.errors.contains("--tls-mode required"), "\(result)")
            #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        }
        // Accepted if TLS is required for the disks, or no certificates are.
        #expect(
            try await serve(tls + "tls-mode = optional\ntls-verify-client = true", "tls = required", []).status == 0)
        #expect(try await serve(tls + "tls-mode = optional", "", []).status == 0)
        #expect(try await serve(tls + "tls-verify-client = true", "", []).status == 0)
    }

    @Test("The same in nbd-server's file -> accepted with a warning")
    func dropIn() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let certificates = try await Certificates()
        let directory = try await certificates.directory()
        let text = """
            [generic]
            unixsock = \(scratch.file("nbd"))
            certfile = \(directory)/server-cert.pem
            keyfile = \(directory)/server-key.pem
            cacertfile = \(directory)/ca-cert.pem
            [disk]
            exportname = \(image)
            """
        let path = try scratch.write(Array(text.utf8), to: "foreign.conf")
        let common = ["serve", "--nbd-server-config", path, "--run", "true", "--state", scratch.file("state")]
        let result = try await Nearblock.run(common)
        #expect(result.status == 0, "\(result)")
        #expect(result.errors.contains("[generic] cacertfile") && result.errors.contains("force_tls"), "\(result)")
        // Contradictory options on the command line are still refused.
        #expect(try await Nearblock.run(common + ["--tls-verify-client"]).status == 1)
    }

    // MARK: Peers

    @Test("A peer's text -> no extra lines in the log, and few lines")
    func peerNames() async throws {
        let port = try FreePort.find()
        let node = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        // Send a hello, an offer whose name controls terminals, and a cancel with such a reason; 400 times.
        let script = """
            import os, socket, struct
            def text(s): s = s.encode(); return struct.pack(">H", len(s)) + s
            def frame(b): return struct.pack(">I", len(b)) + b
            hello = b"\\x01" + struct.pack(">Q", 0x6e656172626c6b32) + struct.pack(">HHQ", 3, 3, 0) + b"\\x01" \\
                + os.urandom(16) + b"\\0" + text("")
            def ask(offer):
                s = socket.create_connection(("127.0.0.1", \(port)), timeout=30)
                s.sendall(frame(hello))
                length = struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))[0]
                welcome = s.recv(length, socket.MSG_WAITALL)
                block = 4096
                s.sendall(frame(b"\\x10" + os.urandom(16) + b"\\0" + struct.pack(">QI", 1 << 20, block)
                    + text("a\\u202eb") + b"\\0"))
                length = struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))[0]
                answer = s.recv(length, socket.MSG_WAITALL)
                s.sendall(frame(b"\\x17" + text("over\\n\\x1b[2J error: forged\\u2028x")))
                while s.recv(4096): pass
                return answer
            for each in range(400): answer = ask(each)
            print(answer[:1])
            """
        let result = try await Command.run("python3", "-c", script)
        #expect(result.status == 0 && result.output == "b' '\n", "\(result)")
        let said = node.messages
        #expect(said.contains("given up"), "\(said)")
        #expect(
            !said.unicodeScalars.contains { $0 != "\n" && ($0.value < 0x20 || [0x202e, 0x2028].contains($0.value)) })
        #expect(!said.split(separator: "\n").contains { $0.hasPrefix("error") || $0.hasPrefix(" error") })
        #expect(said.split(separator: "\n").count < 500, "\(said.split(separator: "\n").count)")
        #expect(try await node.ask(["status"]).status == 0)
        #expect(try await node.stop() == 0)
    }
}
