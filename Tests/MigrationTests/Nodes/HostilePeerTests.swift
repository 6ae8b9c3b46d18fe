import Foundation
import NIOCore
import NIOPosix
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("Hostile peers", .timeLimit(.minutes(10)))
struct HostilePeerTests {
    private let certificates: Certificates

    init() async throws {
        certificates = try await Certificates()
    }

    /// A destination, with and without TLS, that must still take a disk in after `attack`, and have nothing else.
    /// - Parameter isReady: polled before that; the time limit ends it.
    private func survives(
        isEncrypted: Bool, _ attack: (PeerAddress, TestNode) async throws -> Void,
        until isReady: (PeerAddress, TestNode) async throws -> Bool = { _, _ in true }
    ) async throws {
        var random = Seeded.fresh()
        let protection: PeerProtection =
            isEncrypted ? .tls(try PeerCertificates(directory: try await certificates.directory())) : .loopback
        let destination = try TestNode(protection: protection)
        let source = try TestNode(protection: protection)
        let (disk, image) = try source.makeDisk(size: 100_000, &random)
        try await destination.receiving { address in
            try await attack(address, source)
            while try await !isReady(address, source) { try await Task.sleep(for: .milliseconds(20)) }
            _ = try await source.migration(of: disk, image, to: address).run { _ in }
        }
        #expect(try TestNode.contents(image.path) == TestNode.contents("\(destination.images)/disk.raw"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: destination.images) == ["disk.raw"])
        #expect(
            Set(try FileManager.default.contentsOfDirectory(atPath: destination.scratch.path)) == ["images", "state"])
    }

    @Test(
        "Garbage, huge lengths and frames of nothing are answered by the end of the connection",
        arguments: [false, true])
    func garbage(isEncrypted: Bool) async throws {
        var random = Seeded.fresh()
        let said: [[UInt8]] =
            [
                [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0], [0x7f, 0xff, 0xff, 0xff, 1],
                [0, 0, 0x20, 1] + random.bytes(9000),
                Array("GET / HTTP/1.1\r\n\r\n".utf8), [0x16, 3, 1, 0xff, 0xff],
                [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
            ] + (0..<50).map { _ in random.bytes(Int.random(in: 5...5000, using: &random)) }
        try await survives(isEncrypted: isEncrypted) { address, _ in
            let sockets = try await onThread {
                try said.map { bytes in
                    let socket = try RawSocket(port: address.port)
                    socket.send(bytes)
                    return socket
                }
            }
            for (bytes, socket) in zip(said, sockets) {
                #expect(try await socket.readToEnd(within: .seconds(15)) != nil, "\(bytes.prefix(20)) was not answered")
            }
        }
    }

    @Test("Invariant 10: those who connect and say nothing, or a byte now and then, keep nobody out and are let go")
    func slow() async throws {
        for isEncrypted in [false, true] {
            var silent: [RawSocket] = []
            try await survives(isEncrypted: isEncrypted) { address, _ in
                silent = try await onThread {
                    try (0..<400).map { index in
                        let socket = try RawSocket(port: address.port)
                        if index % 2 == 0 { socket.send(isEncrypted ? [0x16, 3, 1] : [0, 0]) }
                        return socket
                    }
                }
            }
            for socket in silent { #expect(try await socket.readToEnd(within: .seconds(15)) != nil) }
        }
    }

    @Test("Invariant 10: only so many may ask what a disk would take, each segment once, and nothing else")
    func estimates() async throws {
        let node = try TestNode()
        try await node.receiving { address in
            /// What is said after the hello and the offer of a disk of 16 blocks.
            func answer(to messages: [Message]) async throws -> Message? {
                try await PeerConnection.connect(to: address, on: node.transport) { connection in
                    var frames = connection.inbound.makeAsyncIterator()
                    let offer = Offer(
                        migration: MigrationID(), abandoned: [], export: "asked", size: 16 * 4096, blockSize: 4096)
                    for message in [
                        Message.hello(Hello(purpose: .estimate, migration: offer.migration)), .offer(offer),
                    ] {
                        try await connection.send(message.encoded())
                        let answer = try await frames.nextMessage()
                        if case .refused = answer { return answer }
                    }
                    for message in messages { try await connection.send(message.encoded()) }
                    var last: Message?
                    for _ in messages { last = try await frames.nextMessage() }
                    return last
                }
            }
            let segment = Message.manifest(ManifestSegment(first: 0, entries: Array(repeating: .prefix(7), count: 16)))
            guard case .wants(let wants)? = try await answer(to: [segment]) else {
                Issue.record("no wants")
                return
            }
            #expect(wants.wanted.allSatisfy { $0 })
            guard case .refused? = try await answer(to: [segment, segment]) else {
                Issue.record("asked twice")
                return
            }
            guard case .refused? = try await answer(to: [.prepare(DiskRoot(Array(repeating: 0, count: 32)))]) else {
                Issue.record("prepared")
                return
            }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: node.images).isEmpty)
    }

    @Test("Invariant 10: of those who greet and then say nothing no more are let in than there is room for")
    func crowd() async throws {
        var frame = ByteBuffer()
        let hello = Message.hello(Hello(purpose: .migrate, migration: MigrationID())).encoded()
        frame.writeInteger(UInt32(hello.readableBytes))
        frame.writeImmutableBuffer(hello)
        let greeting = Array(frame.readableBytesView)
        try await survives(isEncrypted: false) { address, source in
            let crowd = try await onThread {
                try (0..<256).map { _ in
                    let socket = try RawSocket(port: address.port)
                    socket.send(greeting)
                    return socket
                }
            }
            // All places are taken once one more gets none. Of a crowd that comes at once some may be sent away before
            // they are heard, so whoever gets in stays.
            var late: [RawSocket] = []
            while try await late.last?.readToEnd(within: .seconds(1))?.isEmpty != true {
                let socket = try await onThread { try RawSocket(port: address.port) }
                socket.send(greeting)
                late.append(socket)
            }
            withExtendedLifetime(late) {}
            withExtendedLifetime(crowd) {}
        } until: { address, source in
            // The crowd has gone; the node may still be seeing it off.
            let welcome = try? await PeerConnection.connect(to: address, on: source.transport) { connection in
                try await connection.send(hello)
                var frames = connection.inbound.makeAsyncIterator()
                return try await frames.nextMessage()
            }
            return welcome != nil
        }
    }

    @Test("A connection that is fed a byte now and then has no longer than the others")
    func dripping() async throws {
        let node = try TestNode()
        try await node.receiving { address in
            let socket = try RawSocket(port: address.port)
            socket.send([0, 0, 1, 0])
            let drip = Task {
                while !Task.isCancelled {
                    socket.send([1])
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            #expect(try await socket.readToEnd(within: .seconds(120)) != nil)
            drip.cancel()
        }
    }

    @Test("Before it has agreed to take a disk, nobody makes a node hold a long frame", arguments: [false, true])
    func longOpening(isEncrypted: Bool) async throws {
        try await survives(isEncrypted: isEncrypted) { address, source in
            for frames in [
                [ByteBuffer(repeating: 1, count: 9000)],
                [
                    Message.hello(Hello(purpose: .migrate, migration: MigrationID())).encoded(),
                    ByteBuffer(repeating: 1, count: 9000),
                ],
            ] {
                try await PeerConnection.connect(to: address, on: source.transport) { connection in
                    for frame in frames { try? await connection.send(frame) }
                    var heard: [Message] = []
                    do {
                        for try await frame in connection.inbound { heard.append(try Message(frame: frame)) }
                    } catch {}
                    guard case .refused(let reason)? = heard.last else {
                        Issue.record("\(heard)")
                        return
                    }
                    #expect(reason.contains("9000 bytes"), "\(reason)")
                }
            }
        }
    }

    @Test("Any message but a hello first, and any but an offer next, ends the connection with a reason")
    func wrongOrder() async throws {
        try await survives(isEncrypted: false) { address, source in
            for sample in MessageCodecTests.samples {
                for isGreeted in [false, true] {
                    switch sample {
                    case .hello where !isGreeted, .offer where isGreeted, .cancel where isGreeted: continue
                    default: break
                    }
                    let last = try await PeerConnection.connect(to: address, on: source.transport) { connection in
                        if isGreeted {
                            let hello = Message.hello(Hello(purpose: .migrate, migration: MigrationID()))
                            try await connection.send(hello.encoded())
                        }
                        try? await connection.send(sample.encoded())
                        var last: Message?
                        do {
                            for try await frame in connection.inbound {
                                last = try Message(frame: frame)
                                if case .refused? = last { break }
                            }
                        } catch {}
                        return last
                    }
                    guard case .refused? = last else {
                        Issue.record("\(sample) was answered with \(String(describing: last))")
                        continue
                    }
                }
            }
        }
    }

    @Test(
        "Names that could lead elsewhere, or nowhere, are refused before a file is touched",
        arguments: [
            "../disk", "..", ".", "", "/etc/passwd", "a/b", "a/../../b", "a\0b", "\0", ".hidden", "a\nb", "a\u{7f}",
            "a\u{9b}", ".\u{1b}[2J",
            String(repeating: "x", count: 201), String(repeating: "é", count: 101), String(repeating: "y", count: 5000),
        ])
    func names(_ name: String) async throws {
        try await survives(isEncrypted: false) { address, source in
            try await PeerConnection.connect(to: address, on: source.transport) { connection in
                try await connection.send(Message.hello(Hello(purpose: .migrate, migration: MigrationID())).encoded())
                let offer = Offer(migration: MigrationID(), abandoned: [], export: name, size: 8192, blockSize: 4096)
                try await connection.send(Message.offer(offer).encoded())
                var heard: [Message] = []
                for try await frame in connection.inbound {
                    heard.append(try Message(frame: frame))
                    if heard.count == 2 { break }
                }
                guard case .refused? = heard.last else {
                    Issue.record("\(name): \(heard)")
                    return
                }
            }
        }
    }

    @Test("A name that is as long as it may be is taken, and a stranger's migration can't be forwarded to")
    func longestName() async throws {
        let node = try TestNode()
        try await node.receiving { address in
            for name in [String(repeating: "x", count: 200), String(repeating: "é", count: 100)] {
                try await PeerConnection.connect(to: address, on: node.transport) { connection in
                    try await connection.send(
                        Message.hello(Hello(purpose: .migrate, migration: MigrationID())).encoded())
                    let offer = Offer(
                        migration: MigrationID(), abandoned: [], export: name, size: 8192, blockSize: 4096)
                    try await connection.send(Message.offer(offer).encoded())
                    var frames = connection.inbound.makeAsyncIterator()
                    _ = try await frames.next()
                    let answer = try await frames.nextMessage()
                    #expect(answer == .accepted)
                }
            }
            for isCommitted in [false, true] {
                try await PeerConnection.connect(to: address, on: node.transport) { connection in
                    let hello = Hello(
                        purpose: .forward, migration: MigrationID(), isCommitted: isCommitted, export: "disk")
                    try await connection.send(Message.hello(hello).encoded())
                    var frames = connection.inbound.makeAsyncIterator()
                    guard case .refused = try await frames.nextMessage() else {
                        Issue.record("a stranger may forward")
                        return
                    }
                }
            }
        }
    }
}
