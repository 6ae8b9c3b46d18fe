import Block
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol
@testable import PeerModel

/// Another host of the site is asked for blocks, and is silent for a time that no test has.
@Suite("The switchover comes while a disk waits for other hosts", .timeLimit(.minutes(5)))
struct ArrivalUrgencyTests {
    private let node: TestNode
    private let isAsked = NIOLockedValueBox(false)

    init() throws {
        node = try TestNode()
    }

    /// Takes disks in, in a site with a host that is silent once it has been asked for blocks.
    private func receiving(_ body: (PeerAddress) async throws -> Void) async throws {
        let script: @Sendable (Message) -> [Message]? = { [isAsked] message in
            switch message {
            case .hello: return [.welcome(Welcome(blockSize: 0))]
            case .arrivalQuestion(let question) where question.prefixes.isEmpty:
                return [.arrivalAnswer(ArrivalAnswer(id: question.id, hasDisks: true, isLate: false, has: []))]
            default:
                isAsked.withLockedValue { $0 = true }
                return []
            }
        }
        let limits = ArrivalBudget.Limits(
            host: 100_000, all: 100_000, step: .seconds(10_000), answer: .seconds(10_000))
        try await node.withPeer(answering: script) { [node] other in
            let site = SiteArrivals(
                ownHost: "here", transport: node.transport, logger: node.logger, limits: limits, now: { .now },
                hosts: { [SiteArrivals.Host(name: "other", address: other)] })
            try await node.receiving(arrivals: site, body)
        }
    }

    private func waitUntilAsked() async throws {
        try await waitUntil("the other host is asked") { [isAsked] in isAsked.withLockedValue { $0 } }
    }

    /// A source that offers a disk, names a block of it, and then does as `body` says.
    private func offering(
        _ migration: MigrationID = MigrationID(), to address: PeerAddress,
        _ body: @escaping @Sendable (PeerConnection, inout PeerFrames) async throws -> Void
    ) async throws {
        try await node.offering(migration, to: address) { connection, frames in
            try await connection.send(Message.manifest(ManifestSegment(first: 0, entries: [.prefix(5)])).encoded())
            try await waitUntilAsked()
            try await body(connection, &frames)
        }
    }

    @Test(
        "The source names what it leaves, or says that this is all, or gives up -> the answer comes at once",
        arguments: [
            Message.postcopy(.dirty([BlockRange(first: 1, count: 1)])), .postcopy(.leave), .cancel(reason: "enough"),
        ])
    func queued(message: Message) async throws {
        try await receiving { address in
            try await offering(to: address) { connection, frames in
                try await connection.send(message.encoded())
                guard case .wants(let wants) = try await frames.nextMessage() else {
                    Issue.record("no wants")
                    return
                }
                #expect(wants.wanted == [true])
            }
        }
    }

    @Test("The source closes the connection -> the disk is free for the next one at once")
    func closed() async throws {
        let migration = MigrationID()
        try await receiving { address in
            try await offering(migration, to: address) { connection, _ in connection.close() }
            let site = try #require(node.site.withLockedValue { $0 })
            try await waitUntil("its place is free") { await site.machine.isIdle(migration) }
        }
    }

    @Test("A client writes at the destination -> the disk is switched over, and no host is waited for")
    func firstWrite() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let (disk, image) = try source.makeDisk(size: 8 << 20, &random)
        let contents = try TestNode.contents(image.path)
        try await receiving { address in
            let migration = source.migration(of: disk, image, to: address, switchover: .firstWrite)
            let moving = Task { try await migration.run { _ in } }
            try await waitUntilAsked()
            try await waitUntil("the disk is announced") { node.announced.withLockedValue { $0["disk"] } != nil }
            let early = try #require(node.announced.withLockedValue { $0["disk"] })
            let memory = BlockBuffer(byteCount: 4096)
            memory.bytes.initializeMemory(as: UInt8.self, repeating: 9)
            let error = await node.client(early).perform(
                .write, offset: 4096, length: 4096, buffer: memory.bytes.baseAddress)
            #expect(error == 0)
            #expect(try await moving.value.state == "complete")
        }
        let expected = contents[..<4096] + Data(repeating: 9, count: 4096) + contents[8192...]
        let isSame = try TestNode.contents("\(node.images)/disk.raw") == expected
        #expect(isSame)
    }
}
