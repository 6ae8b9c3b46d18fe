import Foundation
import TestSupport
import Testing

/// Certificates that `nearblock certificates make` has made, in use.
@Suite("nearblock certificates make", .timeLimit(.minutes(5)))
struct CertificateCommandTests {
    private let scratch = Scratch()

    private func make(_ options: String...) async throws -> Command.Result {
        try await Nearblock.run(["certificates", "make", "--directory", scratch.file("c")] + options)
    }

    private func mode(_ path: String) -> mode_t {
        var info = stat()
        return lstat(path, &info) == 0 ? info.st_mode & 0o7777 : 0
    }

    @Test("Two hosts -> two nodes that migrate with them, and strangers' clients that accept them")
    func used() async throws {
        let made = try await make("--host", "localhost,127.0.0.1,::1", "--host", "b.example")
        #expect(made.status == 0 && made.output.contains("keep it on no node"), "\(made)")
        let (here, there) = (scratch.file("c/b.example"), scratch.file("c/localhost"))
        _ = try scratch.hole(8 << 20, "disk.raw")
        let port = try FreePort.find()
        let destination = try await NodeProcess(
            scratch.file("d"),
            ["--peer-tls", there, "--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        let listen = try FreePort.find()
        let source = try await NodeProcess(
            scratch.file("s"),
            [
                scratch.file("disk.raw"), "--export", "disk", "--tls", there, "--tls-verify-client", "--peer-tls", here,
                "--listen", "127.0.0.1:\(listen)",
            ])
        #expect(!source.messages.contains("expire"), "\(source.messages)")
        // Strangers: libnbd with GnuTLS, OpenSSL's and GnuTLS's clients, by name and by address.
        let uri = "nbds://localhost:\(listen)/disk?tls-certificates=\(here)"
        #expect(try await Command.run("nbdinfo", "--size", uri).output == "8388608\n")
        for name in ["-verify_hostname localhost", "-verify_ip 127.0.0.1", "-verify_ip ::1"] {
            let script = """
                openssl s_client -connect 127.0.0.1:\(port) -tls1_3 -CAfile \(here)/ca-cert.pem \(name) \
                -verify_return_error -cert \(here)/client-cert.pem -key \(here)/client-key.pem </dev/null 2>&1
                """
            let result = try await Command.run("bash", "-c", script)
            #expect(result.output.contains("Verify return code: 0 (ok)"), "\(name): \(result)")
        }
        let gnutls = try await Command.run(
            "bash", "-c",
            """
            gnutls-cli --x509cafile=\(here)/ca-cert.pem --x509certfile=\(here)/client-cert.pem \
            --x509keyfile=\(here)/client-key.pem -p \(port) localhost </dev/null 2>&1
            """)
        #expect(gnutls.output.contains("The certificate is trusted"), "\(gnutls)")
        let moved = try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
        #expect(moved.status == 0, "\(moved)")
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    @Test("Keys -> 0600; an authority that is there -> used again; a host that is there -> nothing is overwritten")
    func kept() async throws {
        #expect(try await make("--host", "a.example").status == 0)
        for key in ["ca/ca-key.pem", "a.example/server-key.pem", "a.example/client-key.pem"] {
            #expect(mode(scratch.file("c/\(key)")) == 0o600, "\(key)")
        }
        #expect(mode(scratch.file("c/ca")) == 0o700)
        #expect(mode(scratch.file("c/a.example")) == 0o755)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: scratch.file("c/a.example")).sorted() == [
                "ca-cert.pem", "client-cert.pem", "client-key.pem", "server-cert.pem", "server-key.pem",
            ])
        let authority = try scratch.contents("c/ca/ca-cert.pem")
        let key = try scratch.contents("c/a.example/server-key.pem")
        let again = try await make("--host", "b.example", "--host", "a.example")
        #expect(again.status == 1 && again.errors.contains("a.example is there already"), "\(again)")
        #expect(!FileManager.default.fileExists(atPath: scratch.file("c/b.example")))
        let more = try await make("--host", "b.example", "--days", "20")
        #expect(more.status == 0 && !more.output.contains("a new authority"), "\(more)")
        #expect(try scratch.contents("c/ca/ca-cert.pem") == authority)
        #expect(try scratch.contents("c/b.example/ca-cert.pem") == authority)
        #expect(try scratch.contents("c/a.example/server-key.pem") == key)
        let text = try await Command.run(
            "openssl",
            ["x509", "-in", scratch.file("c/b.example/server-cert.pem"), "-noout", "-text", "-checkend", "1"])
        for part in ["TLS Web Server Authentication", "DNS:b.example", "CA:FALSE", "ecdsa-with-SHA256", "Version: 3"] {
            #expect(text.output.contains(part), "\(part): \(text.output)")
        }
        let soon = try await Nearblock.run([
            "certificates", "check", scratch.file("c/b.example"), "--host", "b.example",
        ])
        #expect(
            soon.status == 0 && soon.output.contains("warning: ") && soon.output.contains("expires in "),
            "\(soon)")
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: scratch.file("c")).sorted() == [
                "a.example", "b.example", "ca",
            ])
    }

    @Test(
        "No host, or one that no certificate can have -> usage",
        arguments: [
            [], ["--host", ""], ["--host", "a,email:root@x"], ["--host", "a b"], ["--host", "../x"],
            ["--host", "10.0.0.256"], ["--host", "a", "--host", "a"], ["--host", "ca"], ["--host", "a", "--days", "0"],
        ])
    func usage(_ options: [String]) async throws {
        let result = try await Nearblock.run(
            ["certificates", "make", "--directory", scratch.file("c")] + options)
        #expect(result.status == 2 && result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        #expect(!FileManager.default.fileExists(atPath: scratch.file("c")))
    }

    @Test("A directory that can't be made -> one line, and nothing is left")
    func unwritable() async throws {
        _ = try scratch.write([1], to: "file")
        let result = try await Nearblock.run([
            "certificates", "make", "--host", "a", "--directory", scratch.file("file"),
        ])
        #expect(result.status == 1 && result.errors.contains("cannot make a directory in"), "\(result)")
    }
}
