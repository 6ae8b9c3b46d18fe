import Foundation
import TestSupport
import Testing

/// Connections to a node under difficult conditions: clients, commands and configurations.
@Suite("Ways in", .timeLimit(.minutes(10)))
struct WaysInTests {
    private let scratch = Scratch()

    private func common(_ name: String) -> [String] {
        ["--state", scratch.file("state-\(name)"), "--control", scratch.file("control-\(name)")]
    }

    private func write(_ text: String, to name: String) throws -> String {
        try scratch.write(Array(text.utf8), to: name)
    }

    // MARK: --run

    @Test(
        "--run -> exits with the command's status, also one that nearblock uses itself", arguments: [0, 1, 64, 255])
    func statuses(_ status: Int32) async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let result = try await Nearblock.run(["serve", image, "--run", "exit \(status)"] + common("run"))
        #expect(result.status == status, "\(result)")
    }

    @Test("--run -> $exportname is empty for the default export, otherwise the first export")
    func exportNames() async throws {
        _ = try scratch.hole(1 << 20, "a.raw")
        _ = try scratch.hole(2 << 20, "b.raw")
        for (line, answer) in [("default = true", "[] 1048576\n"), ("", "[one] 1048576\n")] {
            let path = try write(
                """
                [export one]
                image = \(scratch.file("a.raw"))
                \(line)
                [export two]
                image = \(scratch.file("b.raw"))
                """, to: "two.conf")
            let command = "echo \"[$exportname] $(nbdinfo --size \"$uri\")\""
            let result = try await Nearblock.run(["serve", "--config", path, "--run", command] + common("run"))
            #expect(result.output == answer, "\(result)")
        }
    }

    @Test("The command of --run -> inherits only the standard streams")
    func descriptors() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let command =
            "for f in /proc/$$/fd/*; do readlink $f; done | grep -E 'socket|event|uring|disk.raw' || echo none"
        let result = try await Nearblock.run(["serve", image, "--run", command] + common("run"))
        #expect(result.output == "none\n", "\(result)")
    }

    @Test("A command of --run that ignores SIGTERM -> killed by the second one")
    func stubborn() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let script = """
            \(Nearblock.path) serve \(image) \(common("run").joined(separator: " ")) \
            --run 'trap "" TERM; touch \(scratch.file("begun")); sleep 30' & n=$!
            for i in $(seq 200); do test -e \(scratch.file("begun")) && break; sleep 0.05; done
            kill $n; sleep 0.5; kill -0 $n && echo waits; kill $n; wait $n; echo $?
            """
        let result = try await Command.run("bash", "-c", script)
        #expect(result.output == "waits\n137\n", "\(result)")
    }

    // MARK: --single

    @Test("Any kind of standard input and output -> every reply arrives", arguments: ["pipes", "late", "one", "two"])
    func everyReply(_ kind: String) async throws {
        let image = try scratch.hole(8 << 20, "disk.raw")
        let arguments = ([Nearblock.path, "serve", "--single", image] + common(kind)).map { "'\($0)'" }
        let script = Self.slowReader + "\nspeak('\(kind)', [\(arguments.joined(separator: ","))])"
        let result = try await Command.run("python3", "-c", script)
        #expect(result.output == "8388764 0\n", "\(result)")
    }

    @Test("SIGTERM with a connected client -> --single ends")
    func singleEnds() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let arguments = ([Nearblock.path, "serve", "--single", image] + common("end")).map { "'\($0)'" }
        let script = """
            import socket, subprocess
            ours, theirs = socket.socketpair()
            node = subprocess.Popen([\(arguments.joined(separator: ","))], stdin=theirs, stdout=theirs)
            theirs.close()
            ours.recv(18)
            node.terminate()
            print(node.wait(20), ours.recv(1))
            """
        let result = try await Command.run("python3", "-c", script)
        #expect(result.output == "0 b''\n", "\(result)")
    }

    /// Asks for 8 MiB, disconnects, and starts to read only after the server has finished.
    private static let slowReader = """
        import os, socket, struct, subprocess, time
        def read(n): return struct.pack(">IHHQQI", 0x25609513, 0, 0, n, n << 20, 1 << 20)
        asked = struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0) + b"".join(map(read, range(8)))
        asked += struct.pack(">IHHQQI", 0x25609513, 0, 2, 9, 0, 0)
        def ends(kind):
            if kind in ("one", "two"):
                a, b = socket.socketpair()
                if kind == "one": return a.detach(), b.detach(), None
                c, d = socket.socketpair()
                return (a.detach(), c.detach()), b.detach(), d.detach()
            (a, b), (c, d) = os.pipe(), os.pipe()
            for end in (a, d): os.set_blocking(end, kind == "pipes")
            return (b, c), a, d
        def speak(kind, command):
            ours, theirs, out = ends(kind)
            to, back = ours if isinstance(ours, tuple) else (ours, ours)
            node = subprocess.Popen(command, stdin=theirs, stdout=theirs if out is None else out, stderr=subprocess.DEVNULL)
            for end in {theirs, out} - {None}: os.close(end)
            if kind == "late": time.sleep(1)
            os.write(to, asked)
            time.sleep(1)
            count = 0
            while part := os.read(back, 1 << 20): count += len(part)
            print(count, node.wait(20))
        """

    // MARK: Addresses

    @Test("An empty host -> all addresses of all families")
    func everyAddress() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let command =
            "nbdinfo --size \"nbd://127.0.0.1:$port\"; nbdinfo --size \"nbd://[::1]:$port\"; nbdinfo --size $uri"
        let result = try await Nearblock.run(["serve", image, "--listen", ":0", "--run", command] + common("any"))
        #expect(result.output == "1048576\n1048576\n1048576\n", "\(result)")
    }

    @Test("An inherited socket that is no listening stream -> refused", arguments: ["SOCK_SEQPACKET", "SOCK_DGRAM"])
    func wrongSockets(_ kind: String) async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let arguments = ([Nearblock.path, "serve", image] + common("activated")).map { "'\($0)'" }
        let script = """
            import os, socket
            given = socket.socket(socket.AF_UNIX, socket.\(kind))
            given.bind('\(scratch.file("given"))')
            if given.type == socket.SOCK_SEQPACKET: given.listen(1)
            os.dup2(given.fileno(), 3)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
            os.execv('\(Nearblock.path)', [\(arguments.joined(separator: ","))])
            """
        let result = try await Command.run("python3", "-c", script)
        #expect(result.status == 1 && result.errors.contains("inherited socket 3: it is no socket"), "\(result)")
    }

    // MARK: TLS without keys

    @Test(
        "TLS options without a key -> refused at the start",
        arguments: [
            (["--tls-mode", "required"], ""), (["--tls-mode", "optional"], ""), (["--tls-verify-client"], ""),
            ([], "tls-mode = required"), ([], "tls-verify-client = true"),
        ])
    func neverInTheClear(_ options: [String], _ line: String) async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let path = try write("[node]\n\(line)\n[export disk]\nimage = \(image)\n", to: "tls.conf")
        let result = try await Nearblock.run(
            ["serve", "--config", path, "--run", "nbdinfo --size $uri"] + options + common("tls"))
        #expect(result.status != 0 && result.output.isEmpty && result.errors.contains("tls"), "\(result)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
    }

    @Test("Exports with force_tls or unsupported options in nbd-server's file -> not served in plaintext")
    func keptBack() async throws {
        for name in ["a.raw", "b.raw", "c.raw"] { _ = try scratch.hole(1 << 20, name) }
        let path = try write(
            """
            [generic]
            allowlist = true
            [plain]
            exportname = \(scratch.file("a.raw"))
            force_tls = false
            copyonwrite = 0
            [secret]
            exportname = \(scratch.file("b.raw"))
            tlsonly = true
            [later]
            exportname = \(scratch.file("c.raw"))
            waitfile = \(scratch.file("diff"))
            """, to: "nbd-server.conf")
        let command = "nbdinfo --list \"nbd+unix:///?socket=$unixsocket\" | grep -o 'export=.*:'"
        let result = try await Nearblock.run(
            ["serve", "--nbd-server-config", path, "--socket", scratch.file("s"), "--run", command] + common("kept"))
        #expect(result.output == "export=\"plain\":\n", "\(result)")
        #expect(result.errors.contains("[secret] tlsonly") && result.errors.contains("[later] waitfile"), "\(result)")
        let forced = try write(
            "[generic]\nforce_tls = true\n[x]\nexportname = \(scratch.file("a.raw"))\n", to: "f.conf")
        let refused = try await Nearblock.run(["serve", "--nbd-server-config", forced] + common("forced"))
        #expect(refused.status == 1 && refused.errors.contains("[generic] force_tls needs a keyfile"), "\(refused)")
    }

    @Test("A low soft limit of descriptors -> all allowed clients can connect")
    func manyClients() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let socket = scratch.file("many.sock")
        let script = """
            (ulimit -S -n 64; exec \(Nearblock.path) serve \(image) --socket \(socket) \
                \(common("many").joined(separator: " "))) & n=$!
            for i in $(seq 100); do test -S \(socket) && break; sleep 0.05; done
            python3 -c '
            import socket
            clients = [socket.socket(socket.AF_UNIX) for _ in range(200)]
            for client in clients:
                client.connect("\(socket)")
                client.settimeout(20)
            print(sum(client.recv(18)[:8] == b"NBDMAGIC" for client in clients))'
            kill $n; wait $n; echo $?
            """
        let result = try await Command.run("bash", "-c", script)
        #expect(result.output == "200\n0\n", "\(result)")
    }

    // MARK: Reloading the configuration

    @Test("An export is renamed -> its connected client goes on")
    func renamed() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let path = try write("[export old]\nimage = \(image)\n", to: "r.conf")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        let new = try write("[export new]\nimage = \(image)\n", to: "r.new")
        let script = """
            import os, signal, time
            os.rename('\(new)', '\(path)')
            os.kill(\(node.processIdentifier), signal.SIGHUP)
            import nbd
            other = nbd.NBD()
            for _ in range(200):
                try:
                    other.connect_uri('\(node.uri("new"))')
                    break
                except nbd.Error:
                    other = nbd.NBD()
                    time.sleep(0.02)
            h.pwrite(b"old client", 0)
            print(other.pread(10, 0).decode())
            """
        let result = try await Command.run("nbdsh", "-u", node.uri("old"), "-c", script)
        #expect(result.output == "old client\n", "\(result)")
        #expect(try await node.stop() == 0)
    }

    @Test("Reloads -> reported to the service manager, without waiting for it")
    func notifications() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let arguments = ([Nearblock.path, "serve", image, "--socket", scratch.file("s")] + common("n")).map {
            "'\($0)'"
        }
        let script = """
            import os, signal, socket, subprocess
            told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            told.bind('\(scratch.file("notify"))')
            told.settimeout(20)
            os.environ["NOTIFY_SOCKET"] = '\(scratch.file("notify"))'
            node = subprocess.Popen([\(arguments.joined(separator: ","))], stderr=subprocess.DEVNULL)
            print(told.recv(99).decode())
            node.send_signal(signal.SIGHUP)
            print(told.recv(99).decode().rstrip("0123456789"))
            print(told.recv(99).decode())
            node.terminate()
            print(told.recv(99).decode(), node.wait(20))
            """
        let result = try await Command.run("python3", "-c", script)
        #expect(result.output == "READY=1\nRELOADING=1\nMONOTONIC_USEC=\nREADY=1\nSTOPPING=1 0\n", "\(result)")
    }
}
