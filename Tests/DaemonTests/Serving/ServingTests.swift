import Foundation
import TestSupport
import Testing

/// Connections to a node, and its configuration, as users set them up.
@Suite("Serving", .timeLimit(.minutes(10)))
struct ServingTests {
    private let scratch = Scratch()

    private func common(_ name: String) -> [String] {
        ["--state", scratch.file("state-\(name)"), "--control", scratch.file("control-\(name)")]
    }

    private func write(_ text: String, to name: String) throws -> String {
        try scratch.write(Array(text.utf8), to: name)
    }

    private func size(_ uri: String) async throws -> String {
        let result = try await Command.run("nbdinfo", "--size", uri)
        return result.status == 0 ? result.output.trimmingCharacters(in: .newlines) : "status \(result.status)"
    }

    // MARK: Ways in

    @Test("--run -> variables, a private socket and the command's status")
    func run() async throws {
        let image = try scratch.hole(1_234_567, "disk.raw")
        let command = "test -S \"$unixsocket\" && nbdinfo --size \"$uri\"; echo \"[$exportname] [$port]\"; exit 7"
        let result = try await Nearblock.run(["serve", image, "--run", command] + common("run"))
        #expect(result.status == 7 && result.output == "1234567\n[] []\n", "\(result)")
        let tcp = try await Nearblock.run(
            ["serve", image, "--listen", "127.0.0.1:0", "--run", "nbdinfo --size $uri; test -n \"$port\""]
                + common("run"))
        #expect(tcp.status == 0 && tcp.output == "1234567\n", "\(tcp)")
        let killed = try await Nearblock.run(["serve", image, "--run", "kill -9 $$"] + common("run"))
        #expect(killed.status == 128 + 9)
    }

    @Test("--single -> serves a client through a socket or pipes")
    func single() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let command = ([Nearblock.path, "serve", "--single", image] + common("single")).map { "'\($0)'" }
        let script = "h.connect_command([\(command.joined(separator: ","))]); h.pwrite(b'x'*9,5,nbd.CMD_FLAG_FUA);"
        let result = try await Command.run("nbdsh", "-c", script + "print(h.pread(9,5)); h.shutdown()")
        #expect(result.output == "bytearray(b'xxxxxxxxx')\n", "\(result)")
        let hello = "printf '\\0\\0\\0\\3IHAVEOPT\\0\\0\\0\\2\\0\\0\\0\\0' | "
        let piped = try await Command.run(
            "bash", "-c", hello + command.joined(separator: " ") + " | tail -c 20 | xxd -p -c 40")
        #expect(piped.output == "0003e889045565a9000000020000000100000000\n", "\(piped)")
    }

    @Test("Sockets of a service manager -> replace the default address")
    func activation() async throws {
        let image = try scratch.hole(3 << 20, "disk.raw")
        let command = ([Nearblock.path, "serve", image] + common("activated")).map { "'\($0)'" }
        let script = "h.connect_systemd_socket_activation([\(command.joined(separator: ","))]); print(h.get_size())"
        let result = try await Command.run("nbdsh", "-c", script)
        #expect(result.output == "3145728\n", "\(result)")
        let copied = try await Command.run(
            "nbdcopy",
            ["--", "[", Nearblock.path, "serve", image] + common("copied") + ["]", scratch.file("copy.raw")])
        #expect(copied.status == 0, "\(copied)")
        #expect(try scratch.contents("copy.raw").count == 3 << 20)
        let wrong = try await Command.run(
            "bash", "-c", "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec " + command.joined(separator: " "))
        #expect(wrong.status == 1 && wrong.errors.contains("inherited socket 3"), "\(wrong)")
    }

    @Test("IPv4, IPv6 and two sockets at once -> all serve")
    func manyAddresses() async throws {
        let node = try await NodeProcess(
            scratch.file("node"),
            [try scratch.hole(1 << 20, "disk.raw"), "--socket", scratch.file("second.sock"), "--listen", "[::1]:0"])
        let port = try #require(node.messages.firstMatch(of: /\[::1\]:(\d+)/)?.1)
        for uri in [node.uri(""), "nbd+unix:///?socket=\(scratch.file("second.sock"))", "nbd://[::1]:\(port)/"] {
            #expect(try await size(uri) == "1048576", "\(uri)")
        }
        #expect(try await node.stop() == 0)
        #expect(!FileManager.default.fileExists(atPath: scratch.file("second.sock")))
    }

    @Test("vsock, if the kernel supports loopback on it -> serves")
    func vsock() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let port = UInt32.random(in: 50_000...60_000)
        let result = try await Nearblock.run(
            ["serve", image, "--vsock", "\(port)", "--run", "nbdinfo --size $uri"] + common("vsock"))
        let isThere = FileManager.default.fileExists(atPath: "/sys/module/vsock_loopback")
        if isThere {
            #expect(result.output == "1048576\n", "\(result)")
        } else {
            #expect(result.errors.contains("vsock"), "\(result)")
        }
    }

    // MARK: Configuration

    @Test("A configuration file with many exports -> served; SIGHUP reloads it")
    func configuration() async throws {
        for (name, size) in [("a.raw", 1 << 20), ("b.raw", 2 << 20), ("c.raw", 3 << 20)] {
            _ = try scratch.hole(size, name)
        }
        let first = """
            # disks
            [export one]
            image = \(scratch.file("a.raw"))
            description = the first
            default = true

            [export two]
            image = \(scratch.file("b.raw"))
            read-only = true
            """
        let path = try write(first, to: "nearblock.conf")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        #expect(try await size(node.uri("")) == "1048576")
        #expect(try await size(node.uri("two")) == "2097152")
        let list = try await Command.run("nbdinfo", "--list", node.uri(""))
        #expect(list.output.contains("description: the first") && list.output.contains("is_read_only: true"))

        let second = """
            [export one]
            image = \(scratch.file("a.raw"))
            description = still the first
            [export three]
            image = \(scratch.file("c.raw"))
            """
        _ = try write(second, to: "nearblock.conf")
        node.signal(SIGHUP)
        try await node.wait(for: "reloaded")
        #expect(try await size(node.uri("three")) == "3145728")
        #expect(try await size(node.uri("one")) == "1048576")
        #expect(try await size(node.uri("two")) != "2097152")
        // The second image is closed now: other programs can write it.
        let info = try await Command.run("qemu-io", "-f", "raw", "-c", "write 0 4k", scratch.file("b.raw"))
        #expect(info.status == 0, "\(info)")

        _ = try write(second + "\n[export four]\nimag = x\n", to: "nearblock.conf")
        node.signal(SIGHUP)
        try await node.wait(for: "stays as it was")
        #expect(node.messages.contains("[export four] imag"))
        #expect(try await size(node.uri("three")) == "3145728")
        #expect(try await node.stop() == 0)
    }

    @Test(
        "An invalid configuration -> one line that says where",
        arguments: [
            ("[export x]\n", "[export x] has no image"), ("[nodes]\n", "[nodes] is unknown"),
            ("[node]\nlisten = nowhere\n[export x]\nimage = y\n", "[node] listen: 'nowhere'"),
            ("[export x]\nimage = y\nread-only = yes\n", "read-only"), ("nonsense\n", "no line of a configuration"),
            ("[node]\ntls = /x\ntls-mode = maybe\n", "off, optional or required"),
        ])
    func badConfiguration(_ text: String, _ complaint: String) async throws {
        let path = try write(text, to: "bad.conf")
        let result = try await Nearblock.run(["serve", "--config", path] + common("bad"))
        #expect(result.status == 1 && result.errors.contains(complaint), "\(result)")
        #expect(result.errors.contains(path) && result.errors.filter { $0 == "\n" }.count == 1)
    }

    @Test("An nbd-server configuration -> served, with warnings for unsupported settings")
    func nbdServerConfiguration() async throws {
        for name in ["a.raw", "b.raw", "c.raw", "d.raw"] { _ = try scratch.hole(1 << 20, name) }
        try FileManager.default.createDirectory(atPath: scratch.file("conf.d"), withIntermediateDirectories: true)
        _ = try write("[extra]\nexportname = \(scratch.file("d.raw"))\nsync = true\n", to: "conf.d/extra.conf")
        _ = try write("not read", to: "conf.d/readme.txt")
        let path = try write(
            """
            [generic]
            user = nobody
            unixsock = \(scratch.file("nbd-server.sock"))
            allowlist = true
            includedir = \(scratch.file("conf.d"))
            max_threads = 8
            port = nbd
            # an export
            [plain]
            exportname = \(scratch.file("a.raw"))
            flush = true
            fua = true
            rotational = true
            timeout = 30
            [readonly]
            exportname = \(scratch.file("b.raw"))
            readonly = true
            copyonwrite = false
            [cow]
            exportname = \(scratch.file("c.raw"))
            copyonwrite = true
            [guarded]
            exportname = \(scratch.file("c.raw"))
            authfile = /etc/nbd-server/allow
            [later]
            exportname = \(scratch.file("not-yet-there.raw"))
            """, to: "nbd-server.conf")
        let node = try await NodeProcess(
            scratch.file("node"), ["--nbd-server-config", path], hasSocket: false)
        let list = try await Command.run("nbdinfo", "--list", "nbd+unix:///?socket=\(scratch.file("nbd-server.sock"))")
        for name in ["plain", "readonly", "extra"] { #expect(list.output.contains("export=\"\(name)\""), "\(list)") }
        #expect(!list.output.contains("cow") && !list.output.contains("guarded"))
        #expect(list.output.contains("is_rotational: true") && list.output.contains("is_read_only: true"))
        for part in [
            "[generic] user is not supported", "[plain] timeout is not supported",
            "[cow] copyonwrite is not supported; the export is left out", "[guarded] authfile",
        ] { #expect(node.messages.contains(part), "\(part)") }
        #expect(!node.messages.contains("max_threads") && !node.messages.contains("[readonly]"))
        // nbd-server opens an image only when a client asks for it.
        #expect(node.messages.contains("later is not offered: cannot open") && !list.output.contains("later"))
        _ = try scratch.hole(1 << 20, "not-yet-there.raw")
        node.signal(SIGHUP)
        try await node.wait(for: "later is offered")
        #expect(try await node.stop() == 0)
    }

    @Test(
        "An nbd-server configuration without a usable export -> an error",
        arguments: [
            ("[generic]\n[x]\nexportname = /nonexistent/x.raw\n", "cannot open /nonexistent/x.raw"),
            ("[generic]\nport = no-such-service\n[x]\nexportname = /x\n", "[generic] port: 'no-such-service'"),
        ])
    func unusableNbdServerConfiguration(_ text: String, _ complaint: String) async throws {
        let path = try write(text, to: "unusable.conf")
        let result = try await Nearblock.run(
            ["serve", "--nbd-server-config", path, "--run", "true"] + common("unusable"))
        #expect(result.status == 1 && result.errors.contains(complaint), "\(result)")
    }

    @Test("One configuration -> nbd-server and nearblock serve the same")
    func besideNbdServer() async throws {
        var random = Seeded.fresh()
        _ = try scratch.write(random.bytes(1_000_448), to: "a.raw")
        let socket = scratch.file("both.sock")
        let path = try write(
            "[generic]\nunixsock = \(socket)\nallowlist = true\n[disk]\nexportname = \(scratch.file("a.raw"))\nflush = true\n",
            to: "both.conf")
        let node = try await NodeProcess(scratch.file("node"), ["--nbd-server-config", path], hasSocket: false)
        let uri = "nbd+unix:///disk?socket=\(socket)"
        let copied = try await Command.run("nbdcopy", uri, scratch.file("ours.raw"))
        #expect(try await node.stop() == 0)
        let theirs = try await Command.run(
            "bash", "-c",
            "nbd-server -C \(path) -p \(scratch.file("pid")); "
                + "for i in $(seq 100); do test -S \(socket) -a -s \(scratch.file("pid")) && break; sleep 0.05; done; "
                + "nbdcopy '\(uri)' \(scratch.file("theirs.raw")); s=$?; kill $(cat \(scratch.file("pid"))); exit $s")
        #expect(copied.status == 0 && theirs.status == 0, "\(copied) \(theirs)")
        let ours = try scratch.contents("ours.raw")
        #expect(try ours == scratch.contents("theirs.raw") && ours == scratch.contents("a.raw"))
    }

    // MARK: Other servers as backings

    @Test("A qcow2 image behind qemu-nbd -> data, zeroes and holes pass through")
    func qcow2() async throws {
        var random = Seeded.fresh()
        let source = try scratch.write(random.bytes(5 << 20), to: "source.raw")
        let image = scratch.file("disk.qcow2")
        _ = try await Command.run("qemu-img", "create", "-q", "-f", "qcow2", image, "16M")
        let script = """
            qemu-nbd -f qcow2 -t -e 8 -k \(scratch.file("q.sock")) --discard=unmap \(image) & p=$!
            for i in $(seq 100); do test -S \(scratch.file("q.sock")) && break; sleep 0.05; done
            \(Nearblock.path) serve 'nbd+unix:///?socket=\(scratch.file("q.sock"))' \(common("q").joined(separator: " ")) --run '
                nbdcopy \(source) "$uri" && nbdsh -u "$uri" -c "h.zero(65536,0);h.trim(65536,131072);h.flush()" &&
                nbdinfo --map --totals "$uri" && nbdcopy "$uri" \(scratch.file("back.raw"))'
            s=$?; kill $p; wait $p; exit $s
            """
        let result = try await Command.run("bash", "-c", script)
        #expect(result.status == 0, "\(result)")
        #expect(result.output.contains("hole,zero") && result.output.contains("data"), "\(result)")
        let compared = try await Command.run(
            "qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, scratch.file("back.raw"))
        #expect(compared.status == 0, "\(compared)")
        #expect(try scratch.contents("back.raw")[65536..<131072] == scratch.contents("source.raw")[65536..<131072])
    }

    @Test("An error of the backing -> the same error at the client")
    func errors() async throws {
        let serve = "\(Nearblock.path) serve \"$uri\" \(common("errors").joined(separator: " ")) --run"
        for (error, number) in [("EIO", 5), ("ENOSPC", 28), ("EPERM", 1)] {
            let client =
                "nbdsh -u \"$uri\" -c \"import nbd\ntry:\n h.pwrite(bytes(512),0)\nexcept nbd.Error as e: print(e.errnum)\""
            let result = try await Command.run(
                "nbdkit", "-U", "-", "--filter=error", "memory", "1M", "error-pwrite=\(error)",
                "error-pwrite-rate=100%",
                "--run", "\(serve) '\(client)'")
            #expect(result.output == "\(number)\n", "\(result)")
        }
    }

    @Test("A backing restarts -> requests wait, and each connected client's next flush fails")
    func reconnect() async throws {
        let image = try scratch.hole(64 << 20, "disk.raw")
        let socket = scratch.file("kit.sock")
        let clients = """
            import nbd, os, signal, subprocess, time
            def connect():
                h = nbd.NBD(); h.connect_uri(uri); return h
            def flush(h):
                try: h.flush(); return "ok"
                except nbd.Error as e: return e.errno
            def lose():
                global kit
                kit.kill(); kit.wait(); kit = start()
            def start():
                if os.path.exists("\(socket)"): os.unlink("\(socket)")
                kit = subprocess.Popen(["nbdkit", "-f", "-U", "\(socket)", "file", "\(image)"])
                while not os.path.exists("\(socket)"): time.sleep(0.01)
                return kit
            uri = "nbd+unix:///?socket=\(scratch.file("s.sock"))"
            kit = start()
            node = subprocess.Popen(["\(Nearblock.path)", "serve", "nbd+unix:///?socket=\(socket)",
                "--socket", "\(scratch.file("s.sock"))"] + "\(common("r").joined(separator: " "))".split())
            while not os.path.exists("\(scratch.file("s.sock"))"): time.sleep(0.01)
            a, b = connect(), connect()
            a.pwrite(b"a" * 512, 0); b.pwrite(b"b" * 512, 512)
            lose()
            # Once this is answered, the node knows.
            a.pread(512, 0)
            late = connect()
            print("first", flush(a), flush(late), flush(b), flush(a), flush(b), flush(late))
            a.pwrite(b"a" * 512, 0)
            lose()
            # Nobody asks for anything meanwhile; the node hears that the server has gone.
            time.sleep(2)
            newcomer = connect()
            print("idle", flush(newcomer), flush(a), flush(newcomer), flush(a), flush(b), flush(late))
            a.pwrite(b"a" * 512, 0); a.flush()
            lose()
            a.pread(512, 0)
            print("flushed", flush(a), flush(b), flush(late))
            b.pwrite(b"b" * 512, 512); lose(); a.pread(512, 0)
            b.pwrite(b"b" * 512, 512); lose(); a.pread(512, 0)
            print("twice", flush(a), flush(b), flush(late), flush(a), flush(b), flush(late))
            fio = subprocess.Popen(["fio", "--name=v", "--ioengine=nbd", "--uri=" + uri, "--rw=randrw", "--bs=4k",
                "--iodepth=16", "--size=64M", "--verify=crc32c", "--verify_state_save=0", "--time_based", "--runtime=5"],
                stdout=subprocess.DEVNULL)
            for i in range(3): time.sleep(1); lose()
            print("fio", fio.wait())
            node.terminate(); print("node", node.wait()); kit.kill()
            """
        let script = try scratch.write(Array(clients.utf8), to: "clients.py")
        let result = try await Command.run("/usr/bin/python3", script)
        let expected = """
            first EIO ok EIO ok ok ok
            idle ok EIO ok ok EIO EIO
            flushed ok ok ok
            twice EIO EIO EIO ok ok ok
            fio 0
            node 0

            """
        #expect(result.output == expected, "\(result)")
    }

    @Test("A missing backing -> one line")
    func missingBacking() async throws {
        let result = try await Nearblock.run(
            ["serve", "nbd+unix:///?socket=\(scratch.file("none"))"] + common("missing"))
        #expect(result.status == 1 && result.errors.contains("cannot use nbd+unix"), "\(result)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1)
    }
}
