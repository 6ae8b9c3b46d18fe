import Foundation
import NIOCore
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import PeerModel

@Suite("Invariant 11: the peer link is encrypted, and both sides know each other", .timeLimit(.minutes(10)))
struct PeerTLSTests {
    private let certificates: Certificates

    init() async throws {
        certificates = try await Certificates()
    }

    private static func protection(_ directory: String) throws -> PeerProtection {
        .tls(try PeerCertificates(directory: directory))
    }

    @Test(
        "What crosses is what is counted, and can be read only without TLS", arguments: [false, true])
    func crosses(isEncrypted: Bool) async throws {
        var random = Seeded.fresh()
        let protection =
            isEncrypted ? try Self.protection(try await certificates.directory()) : PeerProtection.loopback
        let source = try TestNode(protection: protection)
        let destination = try TestNode(protection: protection)
        let (disk, image) = try source.makeDisk(size: 2 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: random.next())
        try await destination.receiving { address in
            let relay = try await Relay(to: address, on: source.transport.group)
            let report = try await source.migration(of: disk, image, to: relay.address).run { _ in }
            // What was sent last may still be on its way.
            try await waitUntil("the relay has seen all") { relay.bytes.count >= report.wire.total }
            let seen = relay.bytes
            // What ends a connection comes after the report, and is small.
            #expect(seen.count < report.wire.total + 500)
            #expect(seen.contains(Array("nearbl".utf8)) != isEncrypted, "the magic number of the hello")
            for _ in 0..<20 { #expect(await guest.step() == 0, "through the source, which forwards") }
            #expect(await guest.finds(through: source.client(disk)))
            try await relay.stop()
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
    }

    @Test("A host name is looked for in the certificate as well as an address")
    func hostName() async throws {
        var random = Seeded.fresh()
        let protection = try Self.protection(try await certificates.directory())
        let source = try TestNode(protection: protection)
        let destination = try TestNode(protection: protection)
        let (disk, image) = try source.makeDisk(size: 65536, &random)
        try await destination.receiving { address in
            let byName = PeerAddress(host: "localhost", port: address.port)
            _ = try await source.migration(of: disk, image, to: byName).run { _ in }
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == TestNode.contents(image.path))
    }

    /// A source, or a destination, that is not what it should be, and what the source then says.
    struct Misfit: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var source: Side = .tls()
        var destination: Side = .tls()
        let complaint: String

        enum Side: Sendable {
            case tls(
                authority: String = "ca", server: Certificates.Leaf? = Certificates.Leaf(),
                client: Certificates.Leaf? = Certificates.Leaf())
            case clear
        }
    }

    private static let everyMisfit = [
        Misfit(
            testDescription: "a source of a stranger's", source: .tls(client: .init(authority: "stranger")),
            complaint: "same authority"),
        Misfit(
            testDescription: "a source whose time is over", source: .tls(client: .init(isExpired: true)),
            complaint: "this node's certificate has expired, on 20"),
        Misfit(
            testDescription: "a source without a certificate", source: .tls(client: nil),
            complaint: "client-cert.pem"),
        Misfit(
            testDescription: "a source in the clear", source: .clear, complaint: "TLS"),
        Misfit(
            testDescription: "a destination of a stranger's", destination: .tls(server: .init(authority: "stranger")),
            complaint: "our ca-cert.pem"),
        Misfit(
            testDescription: "a destination that trusts strangers only", destination: .tls(authority: "stranger"),
            complaint: "same authority"),
        Misfit(
            testDescription: "a destination whose time is over", destination: .tls(server: .init(isExpired: true)),
            complaint: "the certificate of the other node, 127.0.0.1, expired on 20"),
        Misfit(
            testDescription: "a destination that is another host",
            destination: .tls(server: .init(names: "DNS:elsewhere,IP:192.0.2.1")),
            complaint: "names elsewhere, 192.0.2.1 (subjectAltName), and not 127.0.0.1"),
        Misfit(
            testDescription: "a destination in the clear", destination: .clear, complaint: "does not speak TLS"),
    ]

    @Test("Who is not who they should be gets nothing, and is told why in a line", arguments: everyMisfit)
    func misfits(_ misfit: Misfit) async throws {
        var random = Seeded.fresh()
        func node(_ side: Misfit.Side) async throws -> TestNode {
            guard case .tls(let authority, let server, let client) = side else { return try TestNode() }
            return try TestNode(
                protection: Self.protection(
                    try await certificates.directory(authority: authority, server: server, client: client)))
        }
        let source = try await node(misfit.source)
        let destination = try await node(misfit.destination)
        let (disk, image) = try source.makeDisk(size: 65536, &random)
        try await destination.receiving { address in
            let error = await #expect(throws: (any Error).self) {
                try await source.migration(of: disk, image, to: address).run { _ in }
            }
            let line = String(describing: try #require(error))
            #expect(line.contains(misfit.complaint) && !line.contains("\n"), "\(line)")
            let arrived = try FileManager.default.contentsOfDirectory(atPath: destination.images)
            #expect(arrived.isEmpty)
            #expect(
                await source.client(disk).perform(.writeZeroes, length: 4096) == 0, "the guest goes on at the source")
        }
    }

    /// A list of revoked certificates at one side, and what the source says of it; nil where all is well.
    struct Revocation: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let isAtSource: Bool
        var authority = "ca"
        var isOther = true
        var isOutOfDate = false
        let complaint: String?
    }

    private static let everyRevocation = [
        Revocation(
            testDescription: "the destination has the source in its list", isAtSource: false,
            complaint: "this node's certificate is revoked, as the other node's ca-crl.pem says"),
        Revocation(
            testDescription: "the source has the destination in its list", isAtSource: true,
            complaint: "its certificate is revoked, as our ca-crl.pem says"),
        Revocation(
            testDescription: "the destination's list has nobody of the two", isAtSource: false, isOther: false,
            complaint: nil),
        Revocation(
            testDescription: "the source's list has nobody of the two", isAtSource: true, isOther: false, complaint: nil
        ),
        Revocation(
            testDescription: "the destination's list is out of date", isAtSource: false, isOther: false,
            isOutOfDate: true, complaint: "the other node's ca-crl.pem is out of date"),
        Revocation(
            testDescription: "the source's list is out of date", isAtSource: true, isOther: false, isOutOfDate: true,
            complaint: "our ca-crl.pem is out of date"),
        Revocation(
            testDescription: "the destination's list is another authority's", isAtSource: false,
            authority: "stranger", isOther: false, complaint: "its ca-crl.pem, if it has one"),
        Revocation(
            testDescription: "the source's list is another authority's", isAtSource: true, authority: "stranger",
            isOther: false, complaint: "our ca-crl.pem has no list of the authority"),
    ]

    @Test("A peer in ca-crl.pem gets nothing, and each side says so in a line", arguments: everyRevocation)
    func revoked(_ revocation: Revocation) async throws {
        var random = Seeded.fresh()
        let (here, there) = (try await certificates.directory(), try await certificates.directory())
        let other = revocation.isAtSource ? "\(there)/server-cert.pem" : "\(here)/client-cert.pem"
        let uninvolved = "\(try await certificates.directory())/client-cert.pem"
        let list = try await certificates.revocationList(
            of: revocation.authority, revoked: [revocation.isOther ? other : uninvolved],
            isOutOfDate: revocation.isOutOfDate)
        try list.write(to: URL(fileURLWithPath: "\(revocation.isAtSource ? here : there)/ca-crl.pem"))
        let source = try TestNode(protection: Self.protection(here))
        let destination = try TestNode(protection: Self.protection(there))
        let (disk, image) = try source.makeDisk(size: 65536, &random)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address)
            guard let complaint = revocation.complaint else {
                _ = try await migration.run { _ in }
                return
            }
            let error = await #expect(throws: (any Error).self) { try await migration.run { _ in } }
            let line = String(describing: try #require(error))
            #expect(line.contains(complaint) && !line.contains("\n"), "\(line)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: destination.images).isEmpty)
        }
    }

    @Test("An authority between a certificate and the root may be revoked; the root need not publish a list")
    func revokedAuthority() async throws {
        var random = Seeded.fresh()
        try await certificates.makeSubordinate("sub", of: "ca")
        let sub = try await certificates.revocationList(of: "sub", revoked: [])
        let root = try await certificates.revocationList(revoked: [certificates.certificate(of: "sub")])
        let here = try await certificates.directory(client: .init(authority: "sub"))
        for (list, isGood) in [(sub, true), (sub + root, false), (root + sub, false)] {
            let there = try await certificates.directory()
            try list.write(to: URL(fileURLWithPath: "\(there)/ca-crl.pem"))
            let source = try TestNode(protection: Self.protection(here))
            let destination = try TestNode(protection: Self.protection(there))
            let (disk, image) = try source.makeDisk(size: 65536, &random)
            try await destination.receiving { address in
                let migration = source.migration(of: disk, image, to: address)
                if isGood {
                    _ = try await migration.run { _ in }
                } else {
                    let error = await #expect(throws: (any Error).self) { try await migration.run { _ in } }
                    #expect("\(try #require(error))".contains("is revoked"), "\(error as Any)")
                }
            }
        }
    }

    @Test("A peer that changes its keys again and again is understood, and answered with new keys")
    func keyUpdate() async throws {
        let directory = try await certificates.directory()
        let node = try TestNode(protection: try Self.protection(directory))
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: node.transport)
        let task = Task {
            await listener.run { connection in
                do { for try await frame in connection.inbound { try await connection.send(frame) } } catch {}
            }
        }
        // s_client takes what it reads at once as a command where it begins with a K or k: new keys, with and without a wish
        // for new ones of the other side.
        let script = """
            coproc client {
                openssl s_client -tls1_3 -connect 127.0.0.1:\(listener.address.port) -CAfile \(directory)/ca-cert.pem \
                    -cert \(directory)/client-cert.pem -key \(directory)/client-key.pem 2>&1
            }
            exec 3<&"${client[0]}" 4>&"${client[1]}"
            hears() {
                while read -r -t 60 line <&3; do [[ $line != *"$1"* ]] || return 0; done
                echo "it does not say $1"; exit 1
            }
            hears 'Verify return code: 0'
            for number in 1 2 3; do
                for key in K k; do echo "$key" >&4; hears KEYUPDATE; done
                printf '\\0\\0\\0\\10 echo-%s\\n' "$number" >&4; hears "echo-$number"
            done
            """
        let result = try await Command.run("bash", ["-c", script])
        #expect(result.status == 0, "\(result)")
        task.cancel()
        await task.value
    }

    @Test("Long frames cross both ways at once, to readers that are late, and arrive as they were")
    func longFrames() async throws {
        var random = Seeded.fresh()
        let node = try TestNode(protection: try Self.protection(try await certificates.directory()))
        let bytes = ByteBuffer(bytes: random.bytes(PeerConnection.maximumFrame))
        let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: node.transport)
        /// - Returns: the lengths of what came, until the other side ends the connection; `isLast` ends it itself.
        @Sendable func exchange(_ connection: PeerConnection, isLast: Bool) async throws -> [Int] {
            connection.allowLongFrames()
            try await connection.send(ByteBuffer(bytes: Array("hello".utf8)))
            var sender: Task<Void, any Error>?
            var lengths: [Int] = []
            for try await frame in connection.inbound {
                try await Task.sleep(for: .milliseconds(50))
                if !lengths.isEmpty { #expect(frame == bytes.getSlice(at: 0, length: frame.readableBytes)) }
                lengths.append(frame.readableBytes)
                // The other side takes long frames from its hello on.
                sender =
                    sender
                    ?? Task {
                        for length in [1, bytes.readableBytes, 16384, 16385, bytes.readableBytes, 70_000] {
                            try await connection.sendWhole(bytes.getSlice(at: 0, length: length)!)
                        }
                    }
                guard lengths.count == 7 else { continue }
                try await sender?.value
                if isLast { break }
            }
            return lengths
        }
        let expected = [5, 1, bytes.readableBytes, 16384, 16385, bytes.readableBytes, 70_000]
        let task = Task {
            await listener.run { connection in
                do {
                    // The other side may still be reading when this one is done.
                    let lengths = try await exchange(connection, isLast: false)
                    #expect(lengths == expected)
                } catch is CancellationError {
                    // The other side has all that it waits for.
                } catch { Issue.record(error) }
            }
        }
        try await PeerConnection.connect(to: listener.address, on: node.transport) { connection in
            let lengths = try await exchange(connection, isLast: true)
            #expect(lengths == expected)
        }
        task.cancel()
        await task.value
    }

    @Test("TLS 1.2, and no certificate at all, are refused, whoever the client is")
    func openssl() async throws {
        let directory = try await certificates.directory()
        let destination = try TestNode(protection: try Self.protection(directory))
        try await destination.receiving { address in
            func talk(_ options: [String]) async throws -> String {
                let result = try await Command.run(
                    "bash",
                    [
                        "-c",
                        """
                        (sleep 2) | openssl s_client -connect 127.0.0.1:\(address.port) -CAfile \(directory)/ca-cert.pem \
                        \(options.joined(separator: " ")) 2>&1
                        """,
                    ])
                return result.output
            }
            let pair = ["-cert", "\(directory)/client-cert.pem", "-key", "\(directory)/client-key.pem"]
            let right = try await talk(["-tls1_3"] + pair)
            #expect(right.contains("Verify return code: 0 (ok)") && !right.contains("alert"), "\(right)")
            #expect(try await talk(["-tls1_2"] + pair).contains("alert protocol version"))
            #expect(try await talk(["-tls1_3", "-ign_eof"]).contains("alert certificate required"))
        }
    }

    @Test("A destination that speaks TLS 1.2 at best is not given anything")
    func oldDestination() async throws {
        var random = Seeded.fresh()
        let directory = try await certificates.directory()
        let source = try TestNode(protection: try Self.protection(directory))
        let (disk, image) = try source.makeDisk(size: 65536, &random)
        let port = try FreePort.find()
        let server = Task {
            try await Command.run(
                "timeout",
                [
                    "10", "openssl", "s_server", "-tls1_2", "-accept", "127.0.0.1:\(port)", "-cert",
                    "\(directory)/server-cert.pem", "-key", "\(directory)/server-key.pem", "-www",
                ])
        }
        var line = ""
        for _ in 0..<100 {
            do {
                _ = try await source.migration(of: disk, image, to: PeerAddress(host: "127.0.0.1", port: port)).run {
                    _ in
                }
                break
            } catch PeerError.unreachable {
                try await Task.sleep(for: .milliseconds(50))
            } catch {
                line = "\(error)"
                break
            }
        }
        #expect(line.contains("TLS 1.3"), "\(line)")
        _ = try await server.value
    }

    @Test("Certificates that can't be used are named in a line")
    func files() async throws {
        func complaint(_ change: (String) throws -> Void) async throws -> String {
            let directory = try await certificates.directory()
            try change(directory)
            do {
                _ = try PeerCertificates(directory: directory)
                return ""
            } catch {
                return "\(error)"
            }
        }
        func write(_ text: String, _ path: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) }
        #expect(try await complaint { _ in }.isEmpty)
        for name in ["ca-cert.pem", "server-cert.pem", "server-key.pem", "client-cert.pem", "client-key.pem"] {
            #expect(try await complaint { try write("nonsense", "\($0)/\(name)") }.contains(name))
            if name != "ca-cert.pem" {
                #expect(try await complaint { _ = unlink("\($0)/\(name)") }.contains(name))
            }
        }
        #expect(try await complaint { _ = unlink("\($0)/ca-cert.pem") }.contains("ca-cert.pem"))
        let mixed = try await complaint {
            _ = unlink("\($0)/server-key.pem")
            try FileManager.default.copyItem(atPath: "\($0)/client-key.pem", toPath: "\($0)/server-key.pem")
        }
        #expect(mixed.contains("server-key.pem"), "\(mixed)")
        #expect(try await complaint { try write("", "\($0)/ca-crl.pem") }.contains("ca-crl.pem: "))
        // A list must not be skipped, and no certificate of its file must become an authority.
        let dangling = try await complaint {
            try FileManager.default.createSymbolicLink(atPath: "\($0)/ca-crl.pem", withDestinationPath: "nowhere")
        }
        #expect(dangling.contains("ca-crl.pem: No such file or directory"), "\(dangling)")
        let certificate = try await complaint {
            try FileManager.default.copyItem(atPath: "\($0)/ca-cert.pem", toPath: "\($0)/ca-crl.pem")
        }
        #expect(certificate.contains("ca-crl.pem: "), "\(certificate)")
    }

    @Test("Without TLS nobody listens, or connects, beyond this machine, unless that is said aloud")
    func clear() async throws {
        let node = try TestNode()
        let anywhere = PeerAddress(host: "0.0.0.0", port: 0)
        await #expect(throws: PeerError.self) { try await PeerListener(on: anywhere, transport: node.transport) }
        await #expect(throws: PeerError.self) {
            try await PeerConnection.connect(to: PeerAddress(host: "192.0.2.1", port: 1), on: node.transport) { _ in }
        }
        node.transport.protection = .insecure
        let listener = try await PeerListener(on: anywhere, transport: node.transport)
        let task = Task { await listener.run { _ in } }
        task.cancel()
        await task.value
    }
}
