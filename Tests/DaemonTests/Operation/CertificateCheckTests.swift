import Foundation
import TestSupport
import Testing

/// `nearblock certificates check` on directories with one fault each, and the dates that a node looks at.
@Suite("nearblock certificates check", .timeLimit(.minutes(5)))
struct CertificateCheckTests {
    private let scratch = Scratch()

    private func check(_ directory: String, _ options: [String] = ["--host", "localhost"]) async throws
        -> Command.Result
    {
        try await Nearblock.run(["certificates", "check", directory] + options)
    }

    /// Makes `localhost` and `other` under `c`.
    private func made() async throws -> String {
        let result = try await Nearblock.run([
            "certificates", "make", "--directory", scratch.file("c"), "--host", "localhost,127.0.0.1", "--host",
            "other",
        ])
        #expect(result.status == 0, "\(result)")
        return scratch.file("c/localhost")
    }

    private func shell(_ script: String) async throws {
        let result = try await Command.run("bash", "-ec", script)
        #expect(result.status == 0, "\(result)")
    }

    @Test("A good directory -> no faults, by name and by address")
    func good() async throws {
        let directory = try await made()
        for options in [["--host", "localhost"], ["--host", "127.0.0.1"], [], ["--only", "client"]] {
            let result = try await check(directory, options)
            #expect(result.status == 0 && result.output == "\(directory): no faults\n", "\(result)")
        }
    }

    @Test(
        "One fault -> its line",
        arguments: [
            ("rm ca-cert.pem", "has no ca-cert.pem"), ("rm server-key.pem", "has no server-key.pem"),
            ("rm client-*.pem", "has no client-cert.pem and no client-key.pem"),
            ("chmod 644 server-key.pem", "has mode 0644"), ("cp ../other/server-key.pem .", "is not the key of"),
            ("echo x > client-cert.pem", "cannot use the certificate"),
            (
                "openssl ec -in server-key.pem -aes256 -passout pass:x -out k 2>/dev/null; mv k server-key.pem",
                "passphrase"
            ),
            ("cp client-cert.pem server-cert.pem; cp client-key.pem server-key.pem", "is not for servers (serverAuth)"),
            ("cp ../other/server-*.pem .", "names other (subjectAltName), and not localhost"),
            ("cp server-cert.pem ca-cert.pem", "is no authority's"),
            (
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout /dev/null "
                    + "-out ca-cert.pem 2>/dev/null", "no authority in"
            ),
        ])
    func faults(_ harm: String, _ part: String) async throws {
        let directory = try await made()
        try await shell("cd \(directory); \(harm)")
        let result = try await check(directory)
        #expect(result.status == 1 && result.output.contains(part), "\(harm): \(result)")
        #expect(
            result.output.split(separator: "\n").allSatisfy { $0.hasPrefix("fault: ") || $0.hasPrefix("warning: ") })
        #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
    }

    @Test("Several faults at once -> all are named, also as JSON")
    func several() async throws {
        let directory = try await made()
        try await shell(
            "cd \(directory); cp ../other/client-cert.pem server-cert.pem; cp ../other/client-key.pem server-key.pem; chmod 666 server-key.pem; cp ../ca/ca-key.pem .; rm client-key.pem"
        )
        let result = try await check(directory, ["--host", "localhost", "--json"])
        let answer = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: [String]])
        for part in ["mode 0666", "serverAuth", "not localhost", "has no client-key.pem"] {
            #expect(answer["faults"]?.contains { $0.contains(part) } == true, "\(part) in \(result)")
        }
        #expect(answer["warnings"]?.contains { $0.contains("ca-key.pem") } == true, "\(result)")
    }

    @Test("Weak keys and signatures -> named")
    func weak() async throws {
        let directory = try await made()
        let sign = """
            cd \(directory)
            openssl req -newkey rsa:1024 -nodes -subj /CN=localhost -keyout server-key.pem -out r 2>/dev/null
            chmod 600 server-key.pem
            echo subjectAltName=DNS:localhost > e
            openssl x509 -req -in r -CA ../ca/ca-cert.pem -CAkey ../ca/ca-key.pem -CAcreateserial -days 90 -extfile e \
              -out server-cert.pem 2>/dev/null
            """
        try await shell(sign)
        let result = try await check(directory)
        #expect(result.status == 1 && result.output.contains("weak key"), "\(result)")
        try await shell(sign.replacingOccurrences(of: "rsa:1024", with: "rsa:2048") + " -sha1")
        let signature = try await check(directory)
        #expect(signature.status == 1, "\(signature)")
    }

    @Test("A revocation list -> what it says")
    func revoked() async throws {
        let certificates = try await Certificates()
        let directory = try await certificates.directory()
        #expect(try await check(directory).output.contains("fault: ") == false)
        func write(_ data: Data) throws { try data.write(to: URL(fileURLWithPath: "\(directory)/ca-crl.pem")) }
        try write(try await certificates.revocationList(revoked: ["\(directory)/server-cert.pem"]))
        let revoked = try await check(directory)
        #expect(revoked.status == 1 && revoked.output.contains("server-cert.pem is revoked"), "\(revoked)")
        #expect(!revoked.output.contains("client-cert.pem is revoked"), "\(revoked)")
        try write(try await certificates.revocationList(revoked: [], isOutOfDate: true))
        #expect(try await check(directory).output.contains("ca-crl.pem is out of date"))
        try write(try await certificates.revocationList(of: "stranger", revoked: []))
        #expect(try await check(directory).output.contains("has no list of the authority"))
    }

    @Test("An expired certificate, and one that soon will be -> an error and a warning of the node, which serves")
    func dates() async throws {
        let certificates = try await Certificates()
        let image = try scratch.hole(1 << 20, "disk.raw")
        let expired = try await certificates.directory(server: .init(isExpired: true))
        let checked = try await check(expired)
        #expect(checked.status == 1 && checked.output.contains("server-cert.pem expired"), "\(checked)")
        let path = try scratch.write(
            Array("[node]\ntls = \(expired)\n[export disk]\nimage = \(image)\n".utf8), to: "n.conf")
        let configuration = try await Nearblock.run(["check", path])
        #expect(
            configuration.status == 1
                && configuration.output.contains(":2: [node] tls: \(expired)/server-cert.pem expired"),
            "\(configuration)")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        // The authority is made for two days: within its first second that is 2 days, then 1.
        let soon = "expires in "
        #expect(
            node.messages.contains("error") && node.messages.contains("\(expired)/server-cert.pem expired"),
            "\(node.messages)")
        #expect(
            node.messages.contains("warning") && node.messages.contains("ca-cert.pem \(soon)"),
            "\(node.messages)")
        // The same for a reload, which applies it all the same.
        let reloaded = try await node.ask(["reload"])
        #expect(reloaded.status == 1 && reloaded.errors.contains("server-cert.pem expired"), "\(reloaded)")
        try await certificates.fill(expired)
        let good = try await node.ask(["reload"])
        #expect(good.status == 0 && good.output.contains(soon), "\(good)")
        #expect(try await node.stop() == 0)
    }
}
