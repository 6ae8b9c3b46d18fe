import Block
import Foundation
import Index
import NIOCore
import NIOPosix
import Peer
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Hashing
@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("Peers that lie, fall silent or send nonsense", .timeLimit(.minutes(10)))
struct FakePeerTests {
    /// What an honest destination without neighbours says, but for its root.
    private static func honest(_ message: Message) -> [Message]? {
        switch message {
        case .hello: [.welcome(Welcome(blockSize: 4096))]
        case .offer: [.accepted]
        case .manifest(let segment):
            [
                .wants(
                    Wants(
                        first: segment.first, wanted: segment.entries.map { $0 != .zero && $0 != .later },
                        present: 0,
                        repeated: 0, neighbour: 0))
            ]
        case .manifestEnd: [.manifestDone]
        case .roundEnd(let round): [.roundDone(round)]
        default: []
        }
    }

    @Test("Invariant 8: a destination with another root gets nothing, and the guest goes on at the source")
    func wrongRoot() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        let wrong = DiskRoot(Array(repeating: 0, count: 32))
        let script: @Sendable (Message) -> [Message]? = { message in
            if case .prepare = message { return [.prepared(wrong)] }
            return Self.honest(message)
        }
        try await node.withPeer(answering: script) { address in
            let error = await #expect(throws: MigrationError.self) {
                try await node.migration(of: disk, image, to: address).run { _ in }
            }
            guard case .rootsDiffer? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        try await expectServedHere(disk, image, node)
    }

    @Test("A destination that has done before it was told everything, or owes answers, ends the migration")
    func tooEarly() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        for isEarly in [true, false] {
            let script: @Sendable (Message) -> [Message]? = { message in
                switch message {
                case .manifest: isEarly ? [.manifestDone] : []
                default: Self.honest(message)
                }
            }
            try await node.withPeer(answering: script) { address in
                let error = await #expect(throws: MigrationError.self) {
                    try await node.migration(of: disk, image, to: address).run { _ in }
                }
                guard case .unexpected? = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
            }
            try await expectServedHere(disk, image, node)
        }
    }

    /// Nothing is said to the destination then, nor is anything expected of it.
    @Test("A destination gives up while the disk waits for its switchover -> the source hears it, and serves on")
    func givesUpLate() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        let script: @Sendable (Message) -> [Message]? = { message in
            if case .roundEnd = message { return Self.honest(message)! + [.failed(reason: "no room")] }
            return Self.honest(message)
        }
        try await node.withPeer(answering: script) { address in
            let error = await #expect(throws: MigrationError.self) {
                try await node.migration(of: disk, image, to: address, switchover: .manual).run { _ in }
            }
            guard case .peerFailed("no room")? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        try await expectServedHere(disk, image, node)
    }

    @Test("A destination of a release that knows no late pieces gets the bytes of blocks with their names")
    func noLatePieces() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 16 << 20, &random)
        let decompressor = try StreamDecompressor()
        let came = NIOLockedValueBox<Result<Int, any Error>>(.success(0))
        let script: @Sendable (Message) -> [Message]? = { message in
            switch message {
            case .hello:
                var welcome = Welcome(blockSize: 4096)
                welcome.support.capabilities = [.postcopy]
                return [.welcome(welcome)]
            case .data(let segment):
                let count = segment.runs.reduce(0) { $0 + Int($1.count) } * 4096
                let buffer = BlockBuffer(byteCount: count)
                came.withLockedValue { came in
                    came = Result {
                        try segment.compressed.withUnsafeReadableBytes {
                            try decompressor.decompress($0, into: buffer.prefix(count))
                        }
                        return try came.get() + count
                    }
                }
                return []
            case .prepare: return nil
            default: return Self.honest(message)
            }
        }
        try await node.withPeer(answering: script) { address in
            await #expect(throws: (any Error).self) {
                try await node.migration(of: disk, image, to: address).run { _ in }
            }
        }
        #expect(try came.withLockedValue { try $0.get() } > 4 << 20)
        try await expectServedHere(disk, image, node)
    }

    @Test("Blocks that a destination has taken for others are sent after all")
    func mistaken() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        let claimed = NIOLockedValueBox(0)
        let sent = NIOLockedValueBox(Set<UInt64>())
        let script: @Sendable (Message) -> [Message]? = { message in
            switch message {
            case .manifest(let segment):
                let found = segment.prefixes.count { $0 != 0 }
                claimed.withLockedValue { $0 += found }
                let wrong = Fingerprint.combined([Fingerprint(high: 1, low: 1)])
                return [
                    .wants(
                        Wants(
                            first: segment.first, wanted: segment.entries.map { _ in false }, present: 0, repeated: 0,
                            neighbour: UInt64(found) * 4096, check: wrong))
                ]
            case .data(let segment):
                sent.withLockedValue { sent in for run in segment.runs { sent.formUnion(run.range!) } }
                return []
            default: return Self.honest(message)
            }
        }
        try await node.withPeer(answering: script) { address in
            let migration = node.migration(of: disk, image, to: address)
            let task = Task { try await migration.run { _ in } }
            try await waitUntil("all are sent") {
                let count = claimed.withLockedValue { $0 }
                return count > 0 && sent.withLockedValue(\.count) == count
            }
            _ = migration.cancel()
            _ = try? await task.value
        }
        try await expectServedHere(disk, image, node)
    }

    @Test("Invariant 6: a destination that dies at any message leaves the source serving", arguments: 1...7)
    func dies(after count: Int) async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        let left = Countdown(count)
        try await node.withPeer(answering: { left.next() ? Self.honest($0) : nil }) { address in
            await #expect(throws: (any Error).self) {
                try await node.migration(of: disk, image, to: address).run { _ in }
            }
        }
        try await expectServedHere(disk, image, node)
    }

    @Test(
        "Invariant 8: the last round, too, has an end, and that of no other round",
        arguments: [[], [1], [3]] as [[UInt32]])
    func wrongEnd(ends: [UInt32]) async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        let script: @Sendable (Message) -> [Message]? = { message in
            switch message {
            case .roundEnd(2): ends.map { .roundDone($0) }
            case .prepare(let root): [.prepared(root)]
            default: Self.honest(message)
            }
        }
        try await node.withPeer(answering: script) { address in
            await #expect(throws: MigrationError.self) {
                try await node.migration(of: disk, image, to: address).run { _ in }
            }
        }
        try await expectServedHere(disk, image, node)
    }

    @Test("Invariant 5: a commit whose answer is lost is said again, until it is heard")
    func lostCommit() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        let script: @Sendable (Message) -> [Message]? = { message in
            switch message {
            case .prepare(let root): [.prepared(root)]
            case .commit: nil
            default: Self.honest(message)
            }
        }
        let links = NIOLockedValueBox<[ForwardLink]>([])
        try await node.withPeer(answering: script) { address in
            let report = try await node.migration(of: disk, image, to: address).run { link in
                links.withLockedValue { $0.append(link) }
            }
            #expect(report.state == "complete")
        }
        #expect(links.withLockedValue { $0.count } == 1)
        #expect(links.withLockedValue { $0.first?.isActive } == true)
        links.withLockedValue { $0.first }?.stop()
    }

    @Test("A destination that falls silent can be cancelled", arguments: 1...8)
    func silent(after count: Int) async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        let left = Countdown(count)
        try await node.withPeer(answering: { left.next() ? Self.honest($0) : [] }) { address in
            let migration = node.migration(of: disk, image, to: address)
            let moving = Task { try await migration.run { _ in } }
            try await Task.sleep(for: .milliseconds(200))
            #expect(migration.cancel())
            await #expect(throws: MigrationError.self) { try await moving.value }
        }
        try await expectServedHere(disk, image, node)
    }

    @Test(
        "Invariant 10: a hostile destination is refused",
        arguments: [
            Message.wants(Wants(first: 1 << 60, wanted: [true], present: 0, repeated: 0, neighbour: 0)),
            .wants(
                Wants(
                    first: 0, wanted: Array(repeating: true, count: 4096), present: 0, repeated: 0,
                    neighbour: 0)),
            .wants(Wants(first: 0, wanted: [true], present: .max, repeated: .max, neighbour: .max)),
            .active, .roundDone(9), .prepared(DiskRoot(Array(repeating: 0, count: 32))),
            .welcome(Welcome(blockSize: 0)),
        ])
    func hostileDestination(_ lie: Message) async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (disk, image) = try node.makeDisk(size: 1 << 20, &random)
        let script: @Sendable (Message) -> [Message]? = { message in
            if case .manifest = message { return [lie] }
            return Self.honest(message)
        }
        try await node.withPeer(answering: script) { address in
            await #expect(throws: (any Error).self) {
                try await node.migration(of: disk, image, to: address).run { _ in }
            }
        }
        try await expectServedHere(disk, image, node)
    }

    @Test("Invariant 10: a hostile source gets an error, leaves nothing, and the next one is served")
    func hostileSource() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        // A source that leaves the rest for later and is never heard of again is waited for, as it must be.
        let samples = MessageCodecTests.samples.filter { $0 != .postcopy(.leave) }
        try await node.receiving { address in
            for _ in 0..<200 {
                var frames: [ByteBuffer] = [
                    Message.hello(Hello(purpose: .migrate, migration: MigrationID())).encoded()
                ]
                let offer = Offer(
                    migration: MigrationID(), abandoned: [], export: "disk", size: 100_000, blockSize: 4096)
                if Bool.random(using: &random) { frames.append(Message.offer(offer).encoded()) }
                for _ in 0..<5 {
                    var bytes = Array(
                        samples.randomElement(using: &random)!.encoded().readableBytesView)
                    if Bool.random(using: &random) {
                        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8(
                            truncatingIfNeeded: random.next())
                    }
                    if (try? Message(frame: ByteBuffer(bytes: bytes))) == .postcopy(.leave) { continue }
                    frames.append(ByteBuffer(bytes: bytes))
                }
                let sent = frames
                try? await PeerConnection.connect(to: address, on: node.transport) { connection in
                    for frame in sent { try await connection.send(frame) }
                }
            }
            let source = try TestNode()
            let (disk, image) = try source.makeDisk(size: 100_000, &random)
            // The last hostile connection may still be on its way out.
            for attempt in 0... {
                do {
                    _ = try await source.migration(of: disk, image, to: address).run { _ in }
                    break
                } catch  where attempt < 50 { try await Task.sleep(for: .milliseconds(50)) }
            }
            #expect(try TestNode.contents(image.path) == TestNode.contents("\(node.images)/disk.raw"))
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: node.images) == ["disk.raw"])
    }

    private func expectServedHere(_ disk: Disk, _ image: RawImage, _ node: TestNode) async throws {
        let guest = try node.guest(on: disk, image, seed: 1)
        for _ in 0..<20 { #expect(await guest.step() == 0) }
        #expect(await guest.finds(through: node.client(disk)))
        #expect(try TestNode.contents(image.path) == guest.model, "the bytes are in the source's image")
    }
}
