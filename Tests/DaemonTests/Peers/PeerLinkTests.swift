import Foundation
import TestSupport
import Testing

@Suite("The link between nodes, as users set it up", .timeLimit(.minutes(10)))
struct PeerLinkTests {
    private let scratch = Scratch()
    private let certificates: Certificates

    init() async throws {
        certificates = try await Certificates()
    }

    private func destination(_ options: [String], port: UInt16) async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")] + options)
    }

    private func source(_ options: [String]) async throws -> NodeProcess {
        try await NodeProcess(scratch.file("s"), [scratch.file("disk.raw"), "--export", "disk"] + options)
    }

    private func migrate(_ source: NodeProcess, to port: UInt16) async throws -> Command.Result {
        try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
    }

    private func expectMoved() throws {
        let arrived = try Data(contentsOf: URL(fileURLWithPath: scratch.file("images/disk.raw")))
        #expect(try scratch.data("disk.raw") == arrived)
    }

    @Test("--tls DIR -> NBD clients and peers; --peer-tls DIR -> peers only")
    func options() async throws {
        let directory = try await certificates.directory()
        try scratch.makeImage("disk.raw", megabytes: 1)
        let port = try FreePort.find()
        let taker = try await destination(["--tls", directory, "--tls-mode", "off"], port: port)
        let clear = try await source([])
        let refused = try await migrate(clear, to: port)
        #expect(refused.status == 1 && refused.errors.contains("TLS"), "\(refused)")
        #expect(try await clear.stop() == 0)

        let encrypted = try await source(["--peer-tls", directory])
        #expect(try await Command.run("nbdinfo", "--size", encrypted.uri()).status == 0, "NBD stays in the clear")
        let moved = try await migrate(encrypted, to: port)
        #expect(moved.status == 0, "\(moved)")
        try expectMoved()
        let written = try await Command.run("qemu-io", ["-f", "raw", "-c", "write -P 7 0 64k", encrypted.uri()])
        #expect(written.status == 0, "forwarded: \(written)")
        let arrived = try Data(contentsOf: URL(fileURLWithPath: scratch.file("images/disk.raw")))
        #expect(arrived.prefix(65536) == Data(repeating: 7, count: 65536))
        #expect(try await taker.stop() == 0)
        #expect(try await encrypted.stop() == 0)
    }

    @Test("SIGHUP -> the next connection uses new certificates; bad ones change nothing")
    func reload() async throws {
        let ours = try await certificates.directory()
        let theirs = try await certificates.directory()
        try scratch.makeImage("disk.raw", megabytes: 1)
        let port = try FreePort.find()
        let taker = try await destination(["--peer-tls", theirs], port: port)
        let config = try scratch.write(Array("[node]\npeer-tls = \(ours)\n".utf8), to: "source.conf")
        let giver = try await source(["--config", config])

        try await certificates.fill(
            theirs, authority: "stranger", server: .init(authority: "stranger"), client: .init(authority: "stranger"))
        taker.signal(SIGHUP)
        try await taker.wait(for: "was reloaded")
        let refused = try await migrate(giver, to: port)
        #expect(refused.status == 1 && refused.errors.contains("our ca-cert.pem"), "\(refused)")

        try Data("nonsense".utf8).write(to: URL(fileURLWithPath: "\(theirs)/ca-cert.pem"))
        taker.signal(SIGHUP)
        try await taker.wait(for: "stays as it was")

        try await certificates.fill(
            ours, authority: "stranger", server: .init(authority: "stranger"), client: .init(authority: "stranger"))
        giver.signal(SIGHUP)
        try await giver.wait(for: "was reloaded")
        let moved = try await migrate(giver, to: port)
        #expect(moved.status == 0, "\(moved)")
        try expectMoved()
    }

    @Test("A list of revoked certificates counts from SIGHUP on, for peers and for NBD clients alike")
    func revocation() async throws {
        let ours = try await certificates.directory()
        let theirs = try await certificates.directory()
        try scratch.makeImage("disk.raw", megabytes: 1)
        try scratch.makeImage("other.raw", megabytes: 1)
        let (port, clients) = (try FreePort.find(), try FreePort.find())
        let taker = try await destination(
            [scratch.file("other.raw"), "--listen", "127.0.0.1:\(clients)", "--tls", theirs, "--tls-verify-client"],
            port: port)
        let giver = try await source(["--peer-tls", ours])
        func ask() async throws -> Command.Result {
            try await Command.run("nbdinfo", "--size", "nbds://localhost:\(clients)/other.raw?tls-certificates=\(ours)")
        }
        #expect(try await ask().status == 0)
        let list = try await certificates.revocationList(revoked: ["\(ours)/client-cert.pem"])
        try list.write(to: URL(fileURLWithPath: "\(theirs)/ca-crl.pem"))
        taker.signal(SIGHUP)
        try await taker.wait(for: "was reloaded")
        let refused = try await migrate(giver, to: port)
        #expect(refused.status == 1 && refused.errors.contains("this node's certificate is revoked"), "\(refused)")
        #expect(refused.errors.filter { $0 == "\n" }.count == 1, "\(refused)")
        let client = try await ask()
        #expect(client.status == 1 && client.errors.contains("fatal alert"), "\(client)")
        #expect(try await taker.stop() == 0)
        #expect(try await giver.stop() == 0)
    }

    @Test("Invariant 11: no TLS -> peers only on loopback, unless --insecure-peer is given")
    func clear() async throws {
        let taking = [
            "serve", "--images", scratch.file("images"), "--control", scratch.file("c"), "--state", scratch.file("t"),
        ]
        let refused = try await Nearblock.run(taking + ["--peer-listen", "0.0.0.0:0"])
        #expect(refused.status == 1 && refused.errors.contains("--insecure-peer"), "\(refused)")
        #expect(refused.errors.filter { $0 == "\n" }.count == 1)
        let both = try await Nearblock.run(
            taking + ["--insecure-peer", "--peer-tls", "/x", "--peer-listen", "0.0.0.0:0"])
        #expect(both.status == 2 && both.errors.contains("exclude"), "\(both)")
        let nothing = try await Nearblock.run(taking + ["--peer-tls", scratch.path, "--peer-listen", "0.0.0.0:0"])
        #expect(nothing.status == 1 && nothing.errors.contains("ca-cert.pem"), "\(nothing)")
        let config = try scratch.write(Array("[node]\ninsecure-peer = true\npeer-tls = /x\n".utf8), to: "both.conf")
        let exclusive = try await Nearblock.run(taking + ["--config", config])
        #expect(exclusive.status == 1 && exclusive.errors.contains("exclude"), "\(exclusive)")

        try scratch.makeImage("disk.raw", megabytes: 1)
        let giver = try await source([])
        let far = try await giver.ask(["migrate", "disk", "--to", "192.0.2.1:1"])
        #expect(far.status == 1 && far.errors.contains("--insecure-peer"), "\(far)")

        let loud = try await NodeProcess(
            scratch.file("loud"),
            ["--peer-listen", "0.0.0.0:0", "--images", scratch.file("images"), "--insecure-peer"])
        #expect(loud.messages.contains("anyone who reaches"), "\(loud.messages)")
        #expect(try await loud.stop() == 0)
    }

    @Test("Two network namespaces -> works with TLS, and without it if allowed")
    func namespaces() async throws {
        let a = "nb-\(UInt32.random(in: 0 ... .max))", b = "\(a)b"
        let directory = try await certificates.directory(server: .init(names: "IP:10.77.0.2"))
        try scratch.makeImage("disk.raw", megabytes: 4)
        let setUp = """
            set -e
            ip netns add \(a); ip netns add \(b)
            ip link add v0 netns \(a) type veth peer name v1 netns \(b)
            ip -n \(a) addr add 10.77.0.1/24 dev v0; ip -n \(b) addr add 10.77.0.2/24 dev v1
            ip -n \(a) link set v0 up; ip -n \(b) link set v1 up
            """
        let made = try await Command.run("bash", "-c", setUp)
        try #require(made.status == 0, "this test makes network namespaces and needs root: \(made.errors)")
        for (name, options) in [("tls", "--peer-tls \(directory)"), ("clear", "--insecure-peer")] {
            let folder = scratch.file(name)
            // Use a copy of the image: a disk that has moved stays moved.
            let result = try await Command.run(
                "bash", "-c",
                """
                set -e
                mkdir \(folder); cp \(scratch.file("disk.raw")) \(folder)/disk.raw
                serve() { ip netns exec $1 \(Nearblock.path) serve --control \(folder)/$2.control --state \(folder)/$2.state \
                    --socket \(folder)/$2.nbd \(options) "${@:3}" 2>\(folder)/$2.log & }
                serve \(b) d --peer-listen 10.77.0.2:7000 --images \(folder)/images; d=$!
                serve \(a) s \(folder)/disk.raw --export disk; s=$!
                trap 'kill $d $s' EXIT
                for i in $(seq 300); do grep -q ready \(folder)/d.log && grep -q ready \(folder)/s.log && break; sleep 0.05; done
                \(Nearblock.path) migrate disk --to 10.77.0.2:7000 --control \(folder)/s.control --json
                cmp \(folder)/disk.raw \(folder)/images/disk.raw
                qemu-io -f raw -c 'write -P 9 0 64k' -c 'read -P 9 0 64k' 'nbd+unix:///disk?socket=\(folder)/s.nbd'
                cat \(folder)/d.log >&2
                """)
            #expect(result.status == 0 && result.output.contains("complete"), "\(result)")
        }
        _ = try await Command.run("bash", "-c", "ip netns del \(a); ip netns del \(b)")
    }
}
