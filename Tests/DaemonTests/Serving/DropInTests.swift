import Foundation
import TestSupport
import Testing

/// A node in place of another server, with that server's configuration and clients.
@Suite("Drop-in", .timeLimit(.minutes(10)))
struct DropInTests {
    private let scratch = Scratch()

    private func common(_ name: String) -> [String] {
        ["--state", scratch.file("state-\(name)"), "--control", scratch.file("control-\(name)")]
    }

    private func write(_ text: String, to name: String) throws -> String {
        try scratch.write(Array(text.utf8), to: name)
    }

    @Test("5,000 exports -> nbdinfo lists them")
    func manyExports() async throws {
        var text = ""
        for number in 0..<5000 { text += "[export e\(number)]\nimage = \(try scratch.hole(4096, "\(number).raw"))\n" }
        let path = try write(text, to: "many.conf")
        let command = "nbdinfo --list \"nbd+unix:///?socket=$unixsocket\" | grep -c ^export="
        let result = try await Nearblock.run(
            ["serve", "--config", path, "--socket", scratch.file("s"), "--run", command] + common("many"))
        #expect(result.output == "5000\n" && result.status == 0, "\(result)")
    }

    // MARK: maxconnections

    @Test("More clients than maxconnections -> refused until one leaves")
    func maximumConnections() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let foreign = try write(
            "[generic]\n[disk]\nexportname = \(image)\nmaxconnections = 2\n[other]\nexportname = \(image)2\nfilesize = 512\n",
            to: "foreign.conf")
        let own = try write("[export disk]\nimage = \(image)\nmax-connections = 2\n", to: "own.conf")
        for option in [["--nbd-server-config", foreign], ["--config", own]] {
            let node = try await NodeProcess(scratch.file("node"), option)
            let script = """
                uri = '\(node.uri("disk"))'
                first, second = nbd.NBD(), nbd.NBD()
                first.connect_uri(uri)
                second.connect_uri(uri)
                def refused(say):
                    try: say()
                    except nbd.Error as e: return "policy" in e.string
                third = nbd.NBD()
                print(refused(lambda: third.connect_uri(uri)))
                third = nbd.NBD()
                third.set_opt_mode(True)
                third.connect_uri(uri)
                third.opt_info()
                print(third.get_size())
                # A client of old that only knows EXPORT_NAME.
                old = nbd.NBD()
                old.set_handshake_flags(0)
                print(refused(lambda: old.connect_uri(uri)) is False)
                for _ in range(100):
                    second.shutdown()
                    second = nbd.NBD()
                    second.connect_uri(uri)
                # One that goes without a word.
                del first
                third = nbd.NBD()
                third.connect_uri(uri)
                third.pwrite(b"third", 0)
                print(second.pread(5, 0))
                """
            let result = try await Command.run("nbdsh", "-c", script)
            #expect(result.output == "True\n1048576\nTrue\nbytearray(b'third')\n", "\(result)")
            #expect(try await node.stop() == 0)
        }
    }

    @Test("SIGHUP changes max-connections -> connected clients count")
    func changedMaximum() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let path = try write("[export disk]\nimage = \(image)\n", to: "m.conf")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        let new = try write("[export disk]\nimage = \(image)\nmax-connections = 1\n", to: "m.new")
        let script = """
            import os, signal, time
            os.rename('\(new)', '\(path)')
            os.kill(\(node.processIdentifier), signal.SIGHUP)
            refused = False
            for _ in range(400):
                other = nbd.NBD()
                try: other.connect_uri('\(node.uri())')
                except nbd.Error: refused = True
                if refused: break
                time.sleep(0.02)
            print(refused, h.pread(1, 0))
            """
        let result = try await Command.run("nbdsh", "-u", node.uri(), "-c", script)
        #expect(result.output == "True bytearray(b'\\x00')\n", "\(result)")
        #expect(try await node.stop() == 0)
    }

    // MARK: filesize

    @Test("filesize -> the same size as with nbd-server")
    func fileSize() async throws {
        let socket = scratch.file("both.sock")
        func configuration() throws -> String {
            for name in ["long", "short", "empty", "none"] {
                try? FileManager.default.removeItem(atPath: scratch.file("\(name).raw"))
            }
            _ = try scratch.write([UInt8](repeating: 7, count: 1_000_000), to: "long.raw")
            _ = try scratch.write([UInt8](repeating: 7, count: 1000), to: "short.raw")
            _ = try scratch.write([], to: "empty.raw")
            let sections = ["long", "short", "empty", "none"].map {
                "[\($0)]\nexportname = \(scratch.file("\($0).raw"))\nfilesize = 300000\n"
            }
            let zero = "[zero]\nexportname = \(scratch.file("long.raw"))\nfilesize = 0\nreadonly = true\n"
            return try write("[generic]\nunixsock = \(socket)\n\(sections.joined())\(zero)", to: "both.conf")
        }
        let ask = """
            for e in long short empty none zero; do
                echo $e $(nbdinfo --size "nbd+unix:///$e?socket=\(socket)" 2>/dev/null || echo refused)
            done; stat -c '%n %s %a' \(scratch.file("long.raw")) \(scratch.file("empty.raw")) \(scratch.file("none.raw"))
            """
        let node = try await NodeProcess(
            scratch.file("node"), ["--nbd-server-config", try configuration()], hasSocket: false)
        let ours = try await Command.run("bash", "-c", ask)
        #expect(node.messages.contains("short.raw has 1000 bytes, and a disk of 300000"), "\(node.messages)")
        #expect(try await node.stop() == 0)
        let theirs = try await Command.run(
            "bash", "-c",
            "nbd-server -C \(try configuration()) -p \(scratch.file("pid")); "
                + "for i in $(seq 100); do test -S \(socket) -a -s \(scratch.file("pid")) && break; sleep 0.05; done; "
                + "\(ask); kill $(cat \(scratch.file("pid")))")
        #expect(
            ours.output.hasPrefix("long 300000\nshort refused\nempty 300000\nnone 300000\nzero 1000000\n"), "\(ours)")
        #expect(ours.output == theirs.output, "\(ours) \(theirs)")
    }

    @Test("Bytes beyond filesize -> neither read nor written")
    func behindTheSize() async throws {
        let image = try scratch.write([UInt8](repeating: 7, count: 8192), to: "disk.raw")
        let path = try write("[generic]\n[disk]\nexportname = \(image)\nfilesize = 4096\n", to: "f.conf")
        let node = try await NodeProcess(scratch.file("node"), ["--nbd-server-config", path])
        let script = """
            h.pwrite(b"x" * 4096, 0, nbd.CMD_FLAG_FUA)
            h.set_strict_mode(0)
            for ask in (lambda: h.pread(1, 4096), lambda: h.pwrite(b"x", 4096), lambda: h.zero(2, 4095)):
                try: ask()
                except nbd.Error as e: print(e.errno)
            h.trim(4096, 0)
            """
        let result = try await Command.run("nbdsh", "-u", node.uri(), "-c", script)
        #expect(result.output == "EINVAL\nENOSPC\nENOSPC\n", "\(result)")
        #expect(try await node.stop() == 0)
        let bytes = try scratch.contents("disk.raw")
        #expect(bytes.count == 8192 && bytes[..<4096].allSatisfy { $0 == 0 } && bytes[4096...].allSatisfy { $0 == 7 })
    }

    // MARK: force_tls

    @Test("force_tls -> only clients with TLS see the export")
    func forceTLS() async throws {
        let certificates = try await Certificates()
        let directory = try await certificates.directory()
        let image = try scratch.hole(1 << 20, "disk.raw")
        let open = try scratch.hole(1 << 20, "open.raw")
        let foreign = try write(
            """
            [generic]
            allowlist = true
            unixsock = \(scratch.file("both.sock"))
            certfile = \(directory)/server-cert.pem
            keyfile = \(directory)/server-key.pem
            cacertfile = \(directory)/ca-cert.pem
            [open]
            exportname = \(open)
            [secret]
            exportname = \(image)
            force_tls = true
            """, to: "foreign.conf")
        let own = try write(
            """
            [node]
            socket = \(scratch.file("both.sock"))
            tls = \(directory)
            tls-mode = optional
            [export open]
            image = \(open)
            [export secret]
            image = \(image)
            tls = required
            """, to: "own.conf")
        let ask = """
            def list(tls):
                h = nbd.NBD()
                h.set_opt_mode(True)
                h.set_tls(tls)
                h.set_tls_certificates('\(directory)')
                h.set_tls_verify_peer(False)
                h.connect_unix('\(scratch.file("both.sock"))')
                names = []
                h.opt_list(lambda name, text: names.append(name))
                for name in ("open", "secret"):
                    h.set_export_name(name)
                    try:
                        h.opt_info()
                        names.append("told")
                    except nbd.Error as e:
                        # That is what libnbd makes of NBD_REP_ERR_TLS_REQD; of an unknown export it makes ENOENT.
                        names.append(e.errno)
                print(names)
            list(nbd.TLS_DISABLE)
            list(nbd.TLS_REQUIRE)
            """
        let expected = "['open', 'told', 'ENOTSUP']\n['open', 'secret', 'told', 'told']\n"
        for option in [["--nbd-server-config", foreign], ["--config", own]] {
            let node = try await NodeProcess(scratch.file("node"), option, hasSocket: false)
            let ours = try await Command.run("nbdsh", "-c", ask)
            #expect(ours.output == expected, "\(option) \(ours)")
            #expect(try await node.stop() == 0)
        }
        let theirs = try await Command.run(
            "bash", "-c",
            """
            nbd-server -C \(foreign) -p \(scratch.file("pid"))
            for i in $(seq 100); do test -S \(scratch.file("both.sock")) -a -s \(scratch.file("pid")) && break; sleep 0.05; done
            nbdsh -c "$1"; kill $(cat \(scratch.file("pid")))
            """, "ask", ask)
        #expect(theirs.output == expected, "\(theirs)")
    }

    @Test("force_tls without certificates -> the export is not served")
    func noCertificates() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let own = try write("[export x]\nimage = \(image)\ntls = required\n", to: "own.conf")
        let result = try await Nearblock.run(["serve", "--config", own, "--run", "true"] + common("own"))
        #expect(result.status == 1 && result.errors.contains("x requires TLS, and there is none"), "\(result)")
    }

    // MARK: Unsupported options

    @Test(
        "An unsupported option that protects data -> the export is held back",
        arguments: [
            "copyonwrite = true", "multifile = 1", "treefiles = true", "temporary = true", "waitfile = true",
            "sdp = true",
            "authfile = /etc/nbd-server/allow", "prerun = true", "postrun = sync", "datalog = true", "force_tls = true",
            "filesize = -1", "maxconnections = -1",
        ])
    func heldBack(_ line: String) async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let other = try scratch.hole(2 << 20, "other.raw")
        let key = line.prefix { $0 != " " }
        let path = try write(
            "[generic]\n[held]\nexportname = \(image)\n\(line)\n[other]\nexportname = \(other)\nsplice = true\n",
            to: "held.conf")
        let command = "for e in held other; do nbdinfo --size \"nbd+unix:///$e?socket=$unixsocket\"; done"
        let result = try await Nearblock.run(
            ["serve", "--nbd-server-config", path, "--socket", scratch.file("s"), "--run", command] + common("held"))
        #expect(result.output == "2097152\n", "\(result)")
        #expect(
            result.errors.contains("[held] \(key)") && result.errors.contains("the export is left out"), "\(result)")
        #expect(!result.errors.contains("[other]"), "\(result)")
    }

    // MARK: Repetitions in configurations

    @Test(
        "A repeated section or key -> an error that names both lines",
        arguments: [
            (
                "[export a]\nimage = x\n[export b]\nimage = y\n[export a]\n",
                "[export a] is on line 1 and again on line 5"
            ),
            ("[node]\n# c\n[export a]\nimage = x\n\n[node]\n", "[node] is on line 1 and again on line 6"),
            ("[export a]\nimage = x\nimage=y\n", "[export a] image is on line 2 and again on line 3"),
            (
                "#[export a]\r\n  [export a]\t \r\n\timage \t= x\r\n image = y\r\n",
                "[export a] image is on line 3 and again on line 4"
            ),
            ("\u{feff}[export a]\nimage = x\n[export a]\n", "[export a] is on line 1 and again on line 3"),
            (
                "[node]\n[export a]\nimage = [node]\n# image = y\ndescription = a=b\nread-only = 1\nread-only = 1\n",
                "[export a] read-only is on line 6 and again on line 7"
            ),
        ])
    func repeated(_ text: String, _ complaint: String) async throws {
        let path = try write(text, to: "twice.conf")
        let result = try await Nearblock.run(["serve", "--config", path] + common("twice"))
        #expect(result.status == 1 && result.errors.contains(path) && result.errors.contains(complaint), "\(result)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1)
    }

    @Test("An apparent repetition -> accepted")
    func notRepeated() async throws {
        let a = try scratch.hole(1 << 20, "a.raw")
        let b = try scratch.hole(2 << 20, "b.raw")
        let path = try write(
            """
            # [export a]
              # image = x
            [export a]
            image = \(a)
            description = [export a]
            #image = x
            [export A]
            image = \(b)
            """, to: "once.conf")
        let result = try await Nearblock.run(
            ["serve", "--config", path, "--run", "nbdinfo --size \"nbd+unix:///A?socket=$unixsocket\""] + common("once")
        )
        #expect(result.output == "2097152\n", "\(result)")
    }

    @Test("One export in two files of nbd-server -> an error that names both files and lines")
    func repeatedInFiles() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        try FileManager.default.createDirectory(atPath: scratch.file("conf.d"), withIntermediateDirectories: true)
        let first = try write("\n[two]\nexportname = \(image)\n", to: "conf.d/1.conf")
        let main = try write(
            "[generic]\nincludedir = \(scratch.file("conf.d"))\n[one]\nexportname = \(image)\n", to: "main.conf")
        func complaint() async throws -> String {
            let result = try await Nearblock.run(["serve", "--nbd-server-config", main] + common("files"))
            #expect(result.status == 1 && result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
            return result.errors
        }
        let second = try write("[two]\nexportname = \(image)\n", to: "conf.d/2.conf")
        #expect(try await complaint().contains("\(second): [two] is on line 1, and on line 2 of \(first)"))
        _ = try write("# nothing\n[one]\nexportname = \(image)\n", to: "conf.d/2.conf")
        #expect(try await complaint().contains("\(second): [one] is on line 2, and on line 3 of \(main)"))
        _ = try write("[three]\nexportname = \(image)\nreadonly = true\nreadonly = false\n", to: "conf.d/2.conf")
        #expect(try await complaint().contains("\(second):4: [three] readonly is on line 3 and again on line 4"))
    }
}
