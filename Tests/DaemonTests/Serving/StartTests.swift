import Foundation
import TestSupport
import Testing

/// Start conditions of the program: standard descriptors, terminal, keys.
@Suite("The start", .timeLimit(.minutes(10)))
struct StartTests {
    private let scratch = Scratch()

    private func common(_ name: String) -> [String] {
        ["--state", scratch.file("state-\(name)"), "--control", scratch.file("control-\(name)")]
    }

    // MARK: The state directory

    @Test("Old temporary file of a killed node -> gone after the start; where another node has the directory, it stays")
    func leftovers() async throws {
        let (image, other) = (try scratch.hole(1 << 20, "disk.raw"), try scratch.hole(1 << 20, "other.raw"))
        let name = "moved-\(String(repeating: "0", count: 32)).json.\(Int32.max).tmp"
        func leave(_ node: String) throws -> String {
            let state = scratch.file("\(node)/state")
            try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
            let path = try scratch.write([], to: "\(node)/state/\(name)")
            var times = [timeval](repeating: timeval(tv_sec: time(nil) - 10_000, tv_usec: 0), count: 2)
            try #require(utimes(path, &times) == 0)
            return path
        }
        let path = try leave("node")
        let node = try await NodeProcess(scratch.file("node"), [image])
        #expect(access(path, F_OK) != 0)
        #expect(node.messages.contains(name), "\(node.messages)")
        _ = try leave("node")
        let second = try await Nearblock.run(["serve", other, "--state", "\(node.folder)/state", "--run", "true"])
        #expect(second.status == 0 && access(path, F_OK) == 0, "\(second)")
        #expect(try await node.stop() == 0)
    }

    // MARK: Standard descriptors

    @Test(
        "Closed standard descriptors -> /dev/null, and clients are served",
        arguments: ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
    func closedDescriptors(_ closed: String) async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let socket = scratch.file("nbd.sock")
        let script = """
            (exec \(Nearblock.path) serve '\(image)' --socket '\(socket)' \(common("c").joined(separator: " ")) \(closed)) &
            node=$!
            for i in $(seq 200); do test -S '\(socket)' && break; sleep 0.05; done
            nbdsh -u 'nbd+unix:///?socket=\(socket)' -c 'h.pwrite(b"written", 0); print(h.pread(7, 0).decode())'
            for n in 0 1 2; do readlink /proc/$node/fd/$n; done
            kill $node; wait $node; echo $?
            """
        let result = try await Command.run("bash", "-c", script)
        let lines = result.output.split(separator: "\n").map(String.init)
        #expect(lines.count == 5 && lines.first == "written" && lines.last == "0", "\(result)")
        for (number, line) in lines.dropFirst().dropLast().enumerated() where closed.contains("\(number)") {
            #expect(line == "/dev/null", "descriptor \(number): \(result)")
        }
        // Messages must not go into the image.
        #expect(try scratch.contents("disk.raw") == Array("written".utf8) + [UInt8](repeating: 0, count: (1 << 20) - 7))
    }

    @Test("Short commands without standard descriptors -> work, and write nothing elsewhere")
    func closedForCommands() async throws {
        try scratch.makeImage("a.raw", megabytes: 1)
        let before = try scratch.contents("a.raw")
        let script = """
            \(Nearblock.path) index add --index '\(scratch.file("index"))' '\(scratch.file("a.raw"))' 0<&- 1>&- 2>&-
            echo $?
            \(Nearblock.path) status --control '\(scratch.file("none"))' 0<&- 1>&- 2>&-
            echo $?
            """
        #expect(try await Command.run("bash", "-c", script).output == "0\n1\n")
        #expect(try scratch.contents("a.raw") == before)
    }

    @Test("The command of --run -> has standard descriptors, even if nearblock had none")
    func closedForCaptive() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let script = """
            \(Nearblock.path) serve '\(image)' \(common("r").joined(separator: " ")) \
            --run 'for n in 0 1 2; do readlink /proc/self/fd/$n; done > \(scratch.file("found")) || true' 0<&- 2>&-
            """
        let result = try await Command.run("bash", "-c", script)
        let found = String(decoding: try scratch.contents("found"), as: UTF8.self)
        #expect(found.hasPrefix("/dev/null\n") && found.hasSuffix("/dev/null\n"), "\(found) \(result)")
    }

    @Test("--single with closed streams -> refused", arguments: ["0<&-", "1>&-"])
    func closedForSingle(_ closed: String) async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let script = "\(Nearblock.path) serve --single '\(image)' \(common("s").joined(separator: " ")) \(closed)"
        let result = try await Command.run("bash", "-c", script)
        #expect(result.status == 1 && result.errors.contains("--single"), "\(result)")
    }

    // MARK: Passphrases

    /// Forms in which openssl writes a key with a passphrase: PKCS #8, and the older ones of RSA and EC keys.
    enum Locked: String, CaseIterable, Sendable {
        case general = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:secret -out"
        case traditional = "genrsa -aes256 -traditional -passout pass:secret -out"
    }

    private func lock(_ path: String, _ form: Locked) async throws {
        let made = try await Command.run("openssl", form.rawValue.split(separator: " ").map(String.init) + [path])
        #expect(made.status == 0, "\(made)")
    }

    private func expectRefusal(_ result: Command.Result, _ key: String) {
        #expect(result.status == 1, "\(result)")
        let line = result.errors + result.output
        #expect(line.contains("the key \(key) has a passphrase"), "\(result)")
        #expect(line.contains("openssl pkey -in \(key)"), "\(result)")
        #expect(line.filter { $0 == "\n" }.count == 1 && !line.contains("Enter"), "\(result)")
    }

    @Test("A key with a passphrase -> refused in one line, for clients and for peers", arguments: Locked.allCases)
    func passphrases(_ form: Locked) async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let certificates = try await Certificates()
        let directory = try await certificates.directory()
        let serve =
            ["serve", image, "--socket", scratch.file("s"), "--control", scratch.file("c")]
            + ["--state", scratch.file("state")]
        try await lock("\(directory)/server-key.pem", form)
        expectRefusal(try await Nearblock.run(serve + ["--tls", directory]), "\(directory)/server-key.pem")
        expectRefusal(
            try await Nearblock.run(serve + ["--peer-tls", directory]), "\(directory)/server-key.pem")
        let other = try await certificates.directory()
        try await lock("\(other)/client-key.pem", form)
        expectRefusal(try await Nearblock.run(serve + ["--peer-tls", other]), "\(other)/client-key.pem")
        let named = try scratch.write(
            Array(
                """
                [generic]
                certfile = \(directory)/server-cert.pem
                keyfile = \(directory)/server-key.pem
                [disk]
                exportname = \(image)
                """.utf8), to: "nbd-server.conf")
        expectRefusal(
            try await Nearblock.run(
                ["serve", "--nbd-server-config", named, "--socket", scratch.file("s")] + common("named")),
            "\(directory)/server-key.pem")
    }

    @Test("A key with a passphrase, with a terminal -> no prompt", arguments: Locked.allCases)
    func passphraseOnTerminal(_ form: Locked) async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let certificates = try await Certificates()
        defer { withExtendedLifetime(certificates) {} }
        let directory = try await certificates.directory()
        try await lock("\(directory)/server-key.pem", form)
        let command = [Nearblock.path, "serve", image, "--tls", directory, "--socket", scratch.file("s")] + common("t")
        // No one types at the controlling terminal, so a prompt would wait for ever.
        let script = """
            import os, pty, select, sys, time
            process, terminal = pty.fork()
            if process == 0:
                os.execv('\(Nearblock.path)', [\(command.map { "'\($0)'" }.joined(separator: ","))])
            said, end = b"", time.time() + 30
            while time.time() < end:
                if not select.select([terminal], [], [], 1)[0]: continue
                try: part = os.read(terminal, 4096)
                except OSError: break
                if not part: break
                said += part
            else:
                os.kill(process, 9)
            sys.stdout.write(said.decode().replace("\\r\\x1b[K", "").replace("\\r", ""))
            sys.stdout.flush()
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) % 256)
            """
        expectRefusal(try await Command.run("python3", "-c", script), "\(directory)/server-key.pem")
    }

    @Test("A key gets a passphrase before SIGHUP -> the node keeps its keys")
    func passphraseOnReload() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let certificates = try await Certificates()
        defer { withExtendedLifetime(certificates) {} }
        let directory = try await certificates.directory()
        let node = try await NodeProcess(scratch.file("node"), [image, "--tls", directory])
        try await lock("\(directory)/server-key.pem", .general)
        node.signal(SIGHUP)
        try await node.wait(for: "has a passphrase")
        let uri = "nbds+unix:///?socket=\(node.folder)/nbd.sock&tls-certificates=\(directory)&tls-verify-peer=false"
        let size = try await Command.run("nbdinfo", "--size", uri)
        #expect(size.output == "1048576\n", "\(size) \(node.messages)")
        #expect(try await node.stop() == 0)
    }
}
