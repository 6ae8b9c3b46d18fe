import Foundation
import TestSupport
import Testing

/// Tests of `--to` with an address that is no peer, or the wrong one.
@Suite("Wrong destinations", .timeLimit(.minutes(10)))
struct WrongPeerTests {
    private let scratch = Scratch()

    private func expectServerRecognised(_ result: Command.Result, _ port: UInt16) {
        #expect(result.status == 1, "\(result)")
        #expect(result.errors.contains("127.0.0.1:\(port) is the port of an NBD server"), "\(result)")
        #expect(result.errors.contains("--peer-listen"), "\(result)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
    }

    @Test("--to an NBD server's port -> recognised, with and without TLS on the peer link", arguments: [false, true])
    func serverPort(isEncrypted: Bool) async throws {
        _ = try scratch.hole(1 << 20, "disk.raw")
        let certificates = try await Certificates()
        defer { withExtendedLifetime(certificates) {} }
        let directory = try await certificates.directory()
        let options = isEncrypted ? ["--peer-tls", directory] : []
        let source = try await NodeProcess(scratch.file("s"), [scratch.file("disk.raw"), "--export", "disk"] + options)
        func migrate(_ port: UInt16, _ more: String...) async throws -> Command.Result {
            try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"] + more)
        }

        // Cases: a node's own port, plaintext and TLS, and a server that sends its greeting in pieces.
        _ = try scratch.hole(1 << 20, "other.raw")
        let port = try FreePort.find()
        let other = try await NodeProcess(
            scratch.file("d"), [scratch.file("other.raw"), "--listen", "127.0.0.1:\(port)"])
        expectServerRecognised(try await migrate(port), port)
        expectServerRecognised(try await migrate(port, "--dry-run"), port)
        #expect(try await other.stop() == 0)

        let encryptedPort = try FreePort.find()
        let encrypted = try await NodeProcess(
            scratch.file("e"),
            [scratch.file("other.raw"), "--listen", "127.0.0.1:\(encryptedPort)", "--tls", directory])
        expectServerRecognised(try await migrate(encryptedPort), encryptedPort)
        #expect(try await encrypted.stop() == 0)

        let slowPort = try FreePort.find()
        let pieces = """
            import socket, time
            listener = socket.create_server(("127.0.0.1", \(slowPort)))
            while True:
                client, _ = listener.accept()
                for piece in (b"N", b"BDMAG", b"ICIHAVEOPT\\0\\3"):
                    try: client.sendall(piece)
                    except OSError: break
                    time.sleep(0.1)
            """
        let server = try ChildProcess("/usr/bin/python3", ["-c", pieces])
        try await waitUntil("it listens") { (try? RawSocket(port: slowPort)) != nil }
        expectServerRecognised(try await migrate(slowPort), slowPort)
        server.signal(SIGTERM)
        #expect(try await source.exports().first?["state"] as? String == "serving")
        #expect(try await source.stop() == 0)
    }

    @Test("An NBD client at the peer port -> logged and disconnected")
    func clientAtPeerPort() async throws {
        let port = try FreePort.find()
        let node = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        let client = try await Command.run("nbdinfo", "nbd://127.0.0.1:\(port)/disk")
        #expect(client.status != 0, "\(client)")
        try await node.wait(for: "a peer at 127.0.0.1 is not let in")
        #expect(node.messages.contains("NBD clients have to connect to an address of --listen"), "\(node.messages)")
        #expect(try await node.stop() == 0)
    }

    @Test("A host name that the certificate lacks -> the error lists the names it has")
    func hostName() async throws {
        _ = try scratch.hole(1 << 20, "disk.raw")
        let certificates = try await Certificates()
        defer { withExtendedLifetime(certificates) {} }
        let names = "DNS:b.example,DNS:*.site.example,IP:192.0.2.7,IP:2001:db8::7"
        let there = try await certificates.directory(server: .init(names: names))
        let here = try await certificates.directory()
        let port = try FreePort.find()
        let destination = try await NodeProcess(
            scratch.file("d"),
            ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images"), "--peer-tls", there])
        let source = try await NodeProcess(
            scratch.file("s"), [scratch.file("disk.raw"), "--export", "disk", "--peer-tls", here])
        for host in ["localhost", "127.0.0.1"] {
            let result = try await source.ask(["migrate", "disk", "--to", "\(host):\(port)"])
            #expect(result.status == 1, "\(result)")
            let words = "names b.example, *.site.example, 192.0.2.7, 2001:db8::7 (subjectAltName), and not \(host);"
            #expect(result.errors.contains(words) && result.errors.contains("give --to"), "\(result)")
            #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        }
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }
}
