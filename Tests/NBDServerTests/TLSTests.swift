import Foundation
import NBDServer
import TLS
import TestSupport
import Testing

/// Encrypted connections, with real clients and one that breaks the rules.
@Suite(.timeLimit(.minutes(10))) struct TLSTests {
    /// Certificates and keys, made for each run.
    private struct Keys {
        let scratch = Scratch()

        init() async throws {
            try await authority("ca")
            try await authority("stranger-ca")
            for name in ["server", "client"] { try await certificate(name, of: "ca") }
            try await certificate("stranger", of: "stranger-ca")
            _ = try scratch.write(Array("alice:00112233445566778899aabbccddeeff\n".utf8), to: "keys.psk")
            _ = try scratch.write(Array("alice:ffffffffffffffffffffffffffffffff\n".utf8), to: "wrong.psk")
            _ = try scratch.write(Array("bob:00112233445566778899aabbccddeeff\n".utf8), to: "bob.psk")
        }

        /// A directory that holds some of them under other names.
        func directory(_ names: [String: String]) throws -> String {
            let path = scratch.file("set-\(UInt64.random(in: 0 ... .max))")
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            for (name, source) in names {
                try FileManager.default.copyItem(atPath: scratch.file(source), toPath: "\(path)/\(name)")
            }
            return path
        }

        var server: String {
            get throws {
                try directory([
                    "ca-cert.pem": "ca-cert.pem", "server-cert.pem": "server-cert.pem",
                    "server-key.pem": "server-key.pem", "keys.psk": "keys.psk",
                ])
            }
        }

        func client(_ name: String = "client") throws -> String {
            try directory([
                "ca-cert.pem": "ca-cert.pem", "client-cert.pem": "\(name)-cert.pem",
                "client-key.pem": "\(name)-key.pem",
            ])
        }

        private func authority(_ name: String) async throws {
            try await openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=\(name)", "-keyout", scratch.file("\(name)-key.pem"), "-out", scratch.file("\(name)-cert.pem"))
        }

        private func certificate(_ name: String, of authority: String) async throws {
            try await openssl(
                "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
                "-keyout", scratch.file("\(name)-key.pem"), "-out", scratch.file("\(name).csr"))
            let extensions = try scratch.write(
                Array("subjectAltName=DNS:localhost,IP:127.0.0.1\n".utf8), to: "\(name).ext")
            try await openssl(
                "x509", "-req", "-in", scratch.file("\(name).csr"), "-CA", scratch.file("\(authority)-cert.pem"),
                "-CAkey", scratch.file("\(authority)-key.pem"), "-CAcreateserial", "-days", "2", "-extfile", extensions,
                "-out", scratch.file("\(name)-cert.pem"))
        }

        private func openssl(_ arguments: String...) async throws {
            let result = try await Command.run("openssl", arguments)
            guard result.status == 0 else { throw Unexpected("openssl \(arguments): \(result.errors)") }
        }
    }

    private func run(
        _ keys: Keys, contents: [UInt8]? = nil, isRequired: Bool = true, verifiesClients: Bool = false,
        _ body: (TestServer, UInt16) async throws -> Void
    ) async throws {
        try await TestServer.run(contents: contents) { test in
            let context = try TLSContext(
                files: TLSFiles(directory: try keys.server), verifiesClients: verifiesClients)
            test.server.secure(with: ServerTLS(context: context, isRequired: isRequired))
            guard case .tcp(_, let port) = try test.server.listen(on: .tcp(host: "localhost", port: 0)) else { return }
            try await body(test, port)
            try await test.waitUntilIdle()
        }
    }

    private func uri(_ port: UInt16, _ directory: String) -> String {
        "nbds://localhost:\(port)/disk?tls-certificates=\(directory)"
    }

    private func keyURI(_ test: TestServer, _ name: String, _ file: String) -> String {
        "nbds+unix://\(name)@/disk?socket=\(test.socket)&tls-psk-file=\(file)"
    }

    @Test func nbdcopyCopiesThroughCertificatesAndKeys() async throws {
        let keys = try await Keys()
        var random = Seeded.fresh()
        let bytes = random.bytes((9 << 20) + 77)
        try await run(keys, contents: [UInt8](repeating: 0, count: bytes.count), verifiesClients: true) { test, port in
            let source = try keys.scratch.write(bytes, to: "source.raw")
            let target = keys.scratch.file("target.raw")
            let copies = [
                [source, uri(port, try keys.client())], [keyURI(test, "alice", keys.scratch.file("keys.psk")), target],
            ]
            for copy in copies {
                let result = try await Command.run("nbdcopy", copy)
                #expect(result.status == 0, "\(result.errors)")
            }
            #expect(try test.image == bytes && keys.scratch.contents("target.raw") == bytes)
        }
    }

    @Test func qemuConnectsWithCertificatesAndKeys() async throws {
        let keys = try await Keys()
        try await run(keys, verifiesClients: true) { test, port in
            let options = "driver=nbd,host=localhost,port=\(port),export=disk,tls-creds=t"
            let credentials = [
                "tls-creds-x509,id=t,dir=\(try keys.client()),endpoint=client",
                "tls-creds-psk,id=t,dir=\(try keys.directory(["keys.psk": "keys.psk"])),endpoint=client,username=alice",
            ]
            for credential in credentials {
                let result = try await Command.run(
                    "qemu-io", "--object", credential, "--image-opts", "-c", "write -P 5 1000 70000", "-c",
                    "read -P 5 1000 70000", options)
                #expect(result.status == 0 && !(result.output + result.errors).contains("ail"), "\(result)")
            }
        }
    }

    @Test(arguments: [("1.3", true), ("1.2", true), ("1.1", false)])
    func onlyTLS12AndLaterConnect(version: String, isSpoken: Bool) async throws {
        let keys = try await Keys()
        try await run(keys) { test, port in
            let priority = "NORMAL:-VERS-ALL:+VERS-TLS\(version)"
            let credentials = [
                "tls-creds-x509,id=t,dir=\(try keys.client()),endpoint=client,priority=\(priority)",
                "tls-creds-psk,id=t,dir=\(try keys.directory(["keys.psk": "keys.psk"])),endpoint=client,username=alice,"
                    + "priority=\(priority)",
            ]
            for credential in credentials {
                let result = try await Command.run(
                    "qemu-img", "info", "--object", credential, "--image-opts",
                    "driver=nbd,host=localhost,port=\(port),export=disk,tls-creds=t")
                #expect((result.status == 0) == isSpoken, "\(credential): \(result)")
            }
        }
    }

    @Test func clientsOfAnotherAuthorityAreTurnedAway() async throws {
        let keys = try await Keys()
        try await run(keys, verifiesClients: true) { test, port in
            let uris = [
                uri(port, try keys.client("stranger")),
                uri(port, try keys.directory(["ca-cert.pem": "ca-cert.pem"])),
                keyURI(test, "alice", keys.scratch.file("wrong.psk")),
                keyURI(test, "bob", keys.scratch.file("bob.psk")),
                test.uri,
            ]
            for uri in uris {
                let result = try await Command.run("nbdinfo", "--size", uri)
                #expect(result.status != 0 && result.output.isEmpty, "\(uri)")
            }
            let known = try await Command.run("nbdinfo", "--size", uri(port, try keys.client()))
            #expect(known.output == "1048576\n")
        }
    }

    @Test func clientInTheRevocationListIsRefusedAndOthersAreServed() async throws {
        let certificates = try await Certificates()
        let server = try await certificates.directory()
        let (good, bad) = (try await certificates.directory(), try await certificates.directory())
        let list = try await certificates.revocationList(revoked: ["\(bad)/client-cert.pem"])
        try list.write(to: URL(fileURLWithPath: "\(server)/ca-crl.pem"))
        try await TestServer.run { test in
            let context = try TLSContext(files: TLSFiles(directory: server), verifiesClients: true)
            test.server.secure(with: ServerTLS(context: context, isRequired: true))
            guard case .tcp(_, let port) = try test.server.listen(on: .tcp(host: "localhost", port: 0)) else { return }
            let refused = try await Command.run("nbdinfo", "--size", uri(port, bad))
            #expect(refused.status != 0 && refused.errors.contains("fatal alert"), "\(refused)")
            let served = try await Command.run("nbdinfo", "--size", uri(port, good))
            #expect(served.output == "1048576\n", "\(served)")
            try await test.waitUntilIdle()
        }
    }

    @Test func optionalTLSServesBothKindsOfClients() async throws {
        let keys = try await Keys()
        try await run(keys, isRequired: false) { test, port in
            for uri in [test.uri, uri(port, try keys.client())] {
                let result = try await Command.run("nbdinfo", "--size", uri)
                #expect(result.output == "1048576\n", "\(result.errors)")
            }
        }
    }

    /// Fifty clients send garbage, or nothing, after the reply to STARTTLS. Other clients are not affected.
    @Test func garbageInsteadOfTLSEndsTheConnection() async throws {
        let keys = try await Keys()
        try await run(keys) { test, port in
            var random = Seeded.fresh()
            for number in 0..<50 {
                let garbage = random.bytes(Int.random(in: 0...70_000, using: &random))
                try await onThread {
                    let client = try Client(unix: test.socket)
                    _ = try client.receive(18)
                    // Half of the garbage follows the option directly, in the clear, and must have no effect.
                    let option = [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + be(UInt32(5)) + be(UInt32(0))
                    try client.send(option + (number % 2 == 0 ? Array(garbage.prefix(100)) : []))
                    _ = try client.receive(20)
                    try? client.send(garbage)
                    if number % 3 == 0 { shutdown(client.socket, CInt(SHUT_WR)) }
                    client.hangUp()
                }
            }
            let known = try await Command.run("nbdinfo", "--size", uri(port, try keys.client()))
            #expect(known.output == "1048576\n")
        }
    }

    /// fio has no option for certificates; nbdkit stands between, with its own TLS.
    @Test func fioVerifiesThroughTLS() async throws {
        let keys = try await Keys()
        try await run(keys, contents: [UInt8](repeating: 0, count: 16 << 20)) { test, port in
            let fio =
                "fio --name=verify --ioengine=nbd --uri=$uri --rw=randrw --bsrange=512-128k --blockalign=512 "
                + "--iodepth=32 --size=16m --verify=crc32c --verify_fatal=1 --serialize_overlap=1 --verify_state_save=0"
            let result = try await Command.run(
                "nbdkit", "-U", "-", "nbd", "hostname=localhost", "port=\(port)", "export=disk", "tls=require",
                "tls-certificates=\(try keys.client())", "--run", fio)
            #expect(result.status == 0 && result.output.contains("err= 0"), "\(result)")
        }
    }

    @Test func badDirectoriesFailInOneLine() async throws {
        let keys = try await Keys()
        func complaint(_ files: [String: String], verifiesClients: Bool = false) throws -> String {
            let files = TLSFiles(directory: try keys.directory(files))
            do {
                _ = try TLSContext(files: files, verifiesClients: verifiesClients)
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(try complaint([:]).contains("neither server-cert.pem"))
        #expect(try complaint(["server-cert.pem": "server-cert.pem"]).contains("server-key.pem"))
        let mixed = ["server-cert.pem": "server-cert.pem", "server-key.pem": "client-key.pem"]
        #expect(try complaint(mixed).contains("server-key.pem"))
        let good = ["server-cert.pem": "server-cert.pem", "server-key.pem": "server-key.pem"]
        #expect(try complaint(good).isEmpty)
        #expect(try complaint(good, verifiesClients: true).contains("ca-cert.pem"))
        #expect(try complaint(["keys.psk": "server-key.pem"]).contains("line 1"))
        let checked = good.merging(["ca-cert.pem": "ca-cert.pem"]) { $1 }
        #expect(try complaint(checked, verifiesClients: true).isEmpty)
        let badList = checked.merging(["ca-crl.pem": "server-key.pem"]) { $1 }
        #expect(try complaint(badList, verifiesClients: true).contains("ca-crl.pem: "))
    }
}
