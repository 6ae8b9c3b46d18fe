import Foundation
import TestSupport
import Testing

/// `nearblock check` and `doctor` with the rights of a service, whose units this machine has. The units are seen by the
/// command only: it runs in a mount namespace of its own.
@Suite("Checks as a service's user", .timeLimit(.minutes(5)), .enabled(if: geteuid() == 0))
struct CheckAsServiceTests {
    private let scratch = Scratch()
    private var config: String { scratch.file("n.conf") }

    init() throws {
        chmod(scratch.path, 0o755)
        for folder in ["units/sockets.target.wants", "images", "open"] {
            try FileManager.default.createDirectory(
                atPath: scratch.file(folder), withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o755])
        }
        chmod(scratch.file("open"), 0o777)
        for file in ["root.raw", "theirs.raw"] { _ = try scratch.hole(1 << 20, file) }
        chmod(scratch.file("root.raw"), 0o600)
        chown(scratch.file("theirs.raw"), 65534, 65534)
    }

    private func unit(_ name: String, _ text: String, isEnabled: Bool = false) throws {
        _ = try scratch.write(Array(text.utf8), to: "units/\(name)")
        guard isEnabled else { return }
        let link = scratch.file("units/sockets.target.wants/\(name)")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "../\(name)")
    }

    private func service(_ more: String = "") throws {
        try unit(
            "nearblock.service",
            """
            [Service]
            ExecStart=/usr/bin/nearblock serve --config \(config) \\
                --state \(scratch.file("open/state")) --control \(scratch.file("open/control"))
            User=nobody
            \(more)
            """)
    }

    private func write(_ text: String) throws { _ = try scratch.write(Array(text.utf8), to: "n.conf") }

    /// Runs nearblock where the units are systemd's.
    private func run(_ words: String...) async throws -> Command.Result {
        let script = "mount --bind '\(scratch.file("units"))' /etc/systemd/system && exec \"$@\""
        return try await Command.run("unshare", ["-m", "sh", "-c", script, "sh", Nearblock.path] + words)
    }

    @Test("An image of root's and a service of nobody's -> a mistake, unless root is named")
    func image() async throws {
        try service()
        try write(
            "[export a]\nimage = \(scratch.file("root.raw"))\n[export b]\nimage = \(scratch.file("theirs.raw"))\n")
        let result = try await run("check", config)
        #expect(result.status == 1, "\(result)")
        #expect(result.output.contains(":2: [export a] image: \(scratch.file("root.raw")) can't be read"), "\(result)")
        #expect(!result.output.contains("theirs.raw"), "\(result)")
        #expect(result.errors.contains("judged as user nobody, as nearblock.service runs"), "\(result)")
        let root = try await run("check", "--user", "root", config)
        #expect(root.status == 0, "\(root)")
        #expect(root.output.contains("judged as user root, while nearblock.service runs as nobody"), "\(root)")
        let doctor = try await run("doctor", "--config", config)
        #expect(doctor.status == 1 && doctor.output.contains("root.raw can't be read and written"), "\(doctor)")
        #expect(doctor.output.contains("judged as user nobody"), "\(doctor)")
    }

    @Test("Another file than the service's -> judged as this user; --user names another; an unknown user -> one line")
    func others() async throws {
        try service()
        let path = try scratch.write(Array("[export a]\nimage = \(scratch.file("root.raw"))\n".utf8), to: "other.conf")
        let own = try await run("check", path)
        #expect(own.status == 0 && own.output.contains("; judged as user root\n"), "\(own)")
        let nobody = try await run("check", "--user", "nobody", path)
        #expect(nobody.status == 1 && nobody.errors.contains("judged as user nobody\n"), "\(nobody)")
        let json = try await run("check", "--user", "nobody", "--json", path)
        #expect(json.output.contains("\"user\":\"nobody\""), "\(json)")
        let unknown = try await run("check", "--user", "nobdoy", path)
        #expect(unknown.status == 1 && unknown.errors.contains("there is no user 'nobdoy'"), "\(unknown)")
        let other = try await Command.run(
            "setpriv",
            ["--reuid=65534", "--regid=65534", "--clear-groups", Nearblock.path, "check", "--user", "root", path])
        #expect(other.status == 1 && other.errors.contains("only root can judge as user 'root'"), "\(other)")
    }

    @Test("Key and state of root's, with and without the service's group -> as the group allows")
    func group() async throws {
        let certificates = try await Certificates()
        let tls = try await certificates.directory()
        chmod(tls, 0o755)
        chmod((tls as NSString).deletingLastPathComponent, 0o755)
        try write("[node]\npeer-tls = \(tls)\n[export b]\nimage = \(scratch.file("theirs.raw"))\n")
        try service()
        let closed = try await run("check", config)
        #expect(closed.status == 1 && closed.output.contains("server-key.pem: Permission denied"), "\(closed)")
        for side in ["server", "client"] {
            chown("\(tls)/\(side)-key.pem", 0, 65534)
            chmod("\(tls)/\(side)-key.pem", 0o640)
        }
        let open = try await run("check", config)
        #expect(open.status == 0 && !open.output.contains("has mode"), "\(open)")
        chmod("\(tls)/server-key.pem", 0o644)
        let wide = try await run("check", config)
        #expect(wide.status == 0, "\(wide)")
        #expect(wide.output.contains("warning: [node] peer-tls: \(tls)/server-key.pem has mode 0644"), "\(wide)")
        #expect(wide.output.contains("chmod 640 \(tls)/server-key.pem"), "\(wide)")
        chown("\(tls)/server-key.pem", 0, 0)
        let foreign = try await run("check", config)
        #expect(foreign.output.contains("chgrp nogroup \(tls)/server-key.pem && chmod 640"), "\(foreign)")
    }

    @Test("A key that all users can read -> a warning in the log at the start, with the command")
    func start() async throws {
        let certificates = try await Certificates()
        let tls = try await certificates.directory()
        chmod("\(tls)/client-key.pem", 0o644)
        let node = try await NodeProcess(
            scratch.file("node"), [scratch.file("root.raw"), "--export", "disk", "--peer-tls", tls])
        try await node.wait(for: "client-key.pem has mode 0644, so that others can use it: chmod 600 ")
        #expect(!node.messages.contains("server-key.pem has mode"), "\(node.messages)")
        #expect(try await node.stop() == 0)
    }

    @Test("Sockets of systemd -> no conflict for peers, a mistake where the node would listen there too")
    func sockets() async throws {
        let (peers, clients) = (try FreePort.find(), try FreePort.find())
        try service()
        try unit(
            "nearblock-peer.socket",
            "[Socket]\nFileDescriptorName=peer\nListenStream=\(peers)\nService=nearblock.service\n", isEnabled: true)
        try unit("nearblock.socket", "[Socket]\nListenStream=127.0.0.1:\(clients)\n", isEnabled: true)
        let images = scratch.file("open/images")
        try write(
            "[node]\nimages = \(images)\npeer-listen = 127.0.0.1:\(peers)\nmemory-dir = \(scratch.file("images"))\n")
        let holder = try await Command.run(
            "unshare",
            [
                "-m", "sh", "-c",
                """
                mount --bind '\(scratch.file("units"))' /etc/systemd/system
                exec python3 - "$@" <<'END'
                import socket, subprocess, sys
                held = [socket.create_server(("127.0.0.1", port)) for port in (\(peers), \(clients))]
                sys.exit(subprocess.run(sys.argv[1:]).returncode)
                END
                """, "sh", Nearblock.path, "doctor", "--config", config,
            ])
        #expect(!holder.output.contains("can't be listened on"), "\(holder)")
        #expect(holder.output.contains("systemd listens for peers (nearblock-peer.socket)"), "\(holder)")
        // Both kinds of address without a word of them in the file.
        try write("[node]\nimages = \(images)\nmemory-dir = \(scratch.file("images"))\ninsecure-peer = true\n")
        let without = try await run("check", config)
        #expect(without.status == 0 && !without.output.contains("warning"), "\(without)")
        try write("[node]\nimages = \(images)\n")
        let plain = try await run("check", config)
        #expect(plain.output.contains("warning: [node] peer-listen: without TLS only loopback"), "\(plain)")
        try write("[node]\nlisten = 0.0.0.0:\(clients)\n[export b]\nimage = \(scratch.file("theirs.raw"))\n")
        let twice = try await run("check", config)
        #expect(
            twice.status == 1
                && twice.output.contains(":2: [node] listen: nearblock.socket listens on 0.0.0.0:\(clients) already"),
            "\(twice)")
    }

    @Test("Directories that systemd makes -> no fault; places that the unit hides or protects -> mistakes")
    func sandbox() async throws {
        try service("ProtectSystem=strict\nReadWritePaths=\(scratch.file("open"))\nRuntimeDirectory=nearblock-test")
        let text =
            "[node]\ncontrol = /run/nearblock-test/control.sock\n[export b]\nimage = \(scratch.file("theirs.raw"))\n"
        try write(text)
        let result = try await run("check", config)
        #expect(result.status == 1, "\(result)")
        #expect(
            result.output.contains("nearblock.service can't write to \(scratch.file("theirs.raw"))")
                && result.output.contains("ReadWritePaths="), "\(result)")
        #expect(result.output.split(separator: "\n").count == 1, "\(result)")
        try FileManager.default.createDirectory(
            atPath: scratch.file("units/nearblock.service.d"), withIntermediateDirectories: true)
        _ = try scratch.write(
            Array("[Service]\nReadWritePaths=\(scratch.path)\n".utf8), to: "units/nearblock.service.d/images.conf")
        let allowed = try await run("check", config)
        #expect(allowed.status == 0, "\(allowed)")
    }
}
