import Block
import Foundation
import NIOCore
import Peer
import TestSupport
import Testing

@testable import BlockModel
@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("The durable two-step of the switchover (invariant 5)", .timeLimit(.minutes(10)))
struct SwitchoverTests {
    private static let size: UInt64 = 10_000

    /// Brings a disk of zeros to the point where only the source's word is missing, and cuts the link.
    /// - Parameter isAnswered: clients are answered at the destination already.
    private func prepare(
        _ migration: MigrationID, as export: String = "disk", isAnswered: Bool = false, at address: PeerAddress,
        _ node: TestNode
    ) async throws {
        let geometry = BlockGeometry(size: Self.size, blockSize: 4096)!
        let root = try FingerprintFile(geometry: geometry, directory: node.state.scratch).root()
        let heard = try await node.say(
            offering(migration, as: export) + (isAnswered ? [.postcopy(.expect(.manual))] : []) + [
                .zeros(BlockRange(first: 0, count: 3)), .manifestEnd, .roundEnd(1), .prepare(root),
            ], to: address, answers: 5)
        #expect(heard.last == .prepared(root))
    }

    private func offering(
        _ migration: MigrationID, abandoned: [MigrationID] = [], as export: String = "disk"
    ) -> [Message] {
        let offer = Offer(
            migration: migration, abandoned: abandoned, export: export, size: Self.size, blockSize: 4096)
        return [.hello(Hello(purpose: .migrate, migration: migration)), .offer(offer)]
    }

    private func commit(_ migration: MigrationID) -> Message {
        .hello(Hello(purpose: .forward, migration: migration, isCommitted: true, export: "disk"))
    }

    @Test(
        "A prepared disk is served to nobody, over a restart too, until its source's word comes; then it is")
    func preparedWaits() async throws {
        let node = try TestNode()
        let migration = MigrationID()
        try await node.receiving { try await prepare(migration, at: $0, node) }
        try await node.receiving { address in
            #expect(node.arrived.withLockedValue { $0.isEmpty })
            let stranger = try await node.say([commit(MigrationID())], to: address, answers: 1)
            guard case .refused? = stranger.first else {
                Issue.record("a stranger's word was taken: \(stranger)")
                return
            }
            #expect(node.arrived.withLockedValue { $0.isEmpty })
            #expect(
                try await node.say([commit(migration)], to: address, answers: 1) == [
                    .welcome(Welcome(blockSize: 0, boot: MachineBoot.current))
                ])
            #expect(node.arrived.withLockedValue { $0["disk"] } != nil)
            // The word may be repeated: the answer to it may have been lost.
            #expect(
                try await node.say([commit(migration)], to: address, answers: 1) == [
                    .welcome(Welcome(blockSize: 0, boot: MachineBoot.current))
                ])
        }
        try await node.receiving { _ in
            #expect(node.arrived.withLockedValue { $0["disk"] } != nil, "after a restart too")
        }
    }

    @Test("A prepared disk is dropped only for a source that says that it has given it up")
    func abandoned() async throws {
        let node = try TestNode()
        let migration = MigrationID()
        try await node.receiving { address in
            try await prepare(migration, at: address, node)
            let next = MigrationID()
            func offer(_ abandoned: MigrationID?) async throws -> Message? {
                let messages = offering(next, abandoned: abandoned.map { [$0] } ?? [])
                return try await node.say(messages, to: address, answers: 2).last
            }
            for stranger in [nil, MigrationID()] {
                guard case .failed? = try await offer(stranger) else {
                    guard case .refused? = try await offer(stranger) else {
                        Issue.record("a prepared disk was given to a stranger")
                        return
                    }
                    continue
                }
            }
            #expect(try await offer(migration) == .acceptedOnBase)
            guard case .refused? = try await node.say([commit(migration)], to: address, answers: 1).first
            else {
                Issue.record("the dropped disk was taken over")
                return
            }
        }
    }

    @Test("A disk that comes back, and whose link was cut when it was prepared, may be brought again")
    func returnsAgain() async throws {
        let node = try TestNode()
        let first = MigrationID()
        try await node.receiving { address in
            try await prepare(first, at: address, node)
            _ = try await node.say([commit(first)], to: address, answers: 1)
            // It has moved on.
            let image = try #require(node.arrivedImages.withLockedValue { $0["disk"] })
            node.bases.withLockedValue { $0["disk"] = ImageBase(image: image, movedBy: MigrationID()) }
            let second = MigrationID()
            try await prepare(second, at: address, node)
            let third = MigrationID()
            func offer(_ abandoned: [MigrationID]) async throws -> Message? {
                try await node.say(offering(third, abandoned: abandoned), to: address, answers: 2).last
            }
            guard case .refused? = try await offer([]) else {
                Issue.record("a prepared disk was given to a stranger")
                return
            }
            #expect(try await offer([second]) == .acceptedOnBase)
            // Whoever forwards by the first migration is still let in.
            #expect(
                try await node.say([commit(first)], to: address, answers: 1) == [
                    .welcome(Welcome(blockSize: 0, boot: MachineBoot.current))
                ])
            node.bases.withLockedValue { $0 = [:] }
        }
    }

    @Test(
        "Invariant 5: a disk can't be served at a start and comes back by another migration -> only the first is tried again",
        arguments: 0..<8)
    func unserved(round: Int) async throws {
        let node = try TestNode()
        let (first, second) = (MigrationID(), MigrationID())
        try await node.receiving { address in
            try await prepare(first, at: address, node)
            _ = try await node.say([commit(first)], to: address, answers: 1)
            // It has moved on, and its next source has not given it away.
            let image = try #require(node.arrivedImages.withLockedValue { $0["disk"] })
            node.bases.withLockedValue { $0["disk"] = ImageBase(image: image, movedBy: MigrationID()) }
            try await prepare(second, at: address, node)
            node.bases.withLockedValue { $0 = [:] }
        }
        let (path, away) = ("\(node.images)/disk.raw", node.scratch.file("away.raw"))
        #expect(rename(path, away) == 0)
        try await node.receiving { _ in
            let site = try #require(node.site.withLockedValue { $0 })
            #expect(await site.unserved.keys.sorted() == ["disk"])
            #expect(await site.retryUnserved(except: []) == [])
            #expect(rename(away, path) == 0)
            #expect(await site.retryUnserved(except: ["disk"]) == [])
            #expect(await site.retryUnserved(except: []) == ["disk"])
            #expect(await site.unserved.isEmpty)
        }
        let records = try node.state.readAll(IncomingRecord.self, prefix: IncomingRecord.prefix)
        #expect(records.map(\.1.migration) == [first])
        let returning = try node.state.readAll(IncomingRecord.self, prefix: IncomingRecord.returningPrefix)
        #expect(returning.map(\.1.phase) == [.prepared] && returning.map(\.1.migration) == [second])
    }

    @Test(
        "Invariant 5: while an offer waits, the disk comes back into its image -> the image is opened to nobody else",
        arguments: [false, true])
    func comesBackMeanwhile(isAnswerOutdated: Bool) async throws {
        let node = try TestNode()
        let second = MigrationID()
        try await node.receiving { address in
            try await serveOnce(at: address, node)
            // It is about to come back.
            try await prepare(second, at: address, node)
            let answer = try await offer(at: address, node) {
                let served = try await node.say([commit(second)], to: address, answers: 1)
                #expect(served == [.welcome(Welcome(blockSize: 0, boot: MachineBoot.current))])
                if !isAnswerOutdated { node.bases.withLockedValue { $0 = [:] } }
            }
            guard case .refused? = answer else {
                Issue.record("an image that is served was opened: \(String(describing: answer))")
                return
            }
            node.bases.withLockedValue { $0 = [:] }
        }
    }

    @Test("While an offer waits, the image that it would go into is taken away -> refused")
    func takenAwayMeanwhile() async throws {
        let node = try TestNode()
        try await node.receiving { address in
            try await serveOnce(at: address, node)
            let answer = try await offer(at: address, node) { node.bases.withLockedValue { $0 = [:] } }
            guard case .refused? = answer else {
                Issue.record("an image that is not the node's any more was opened: \(String(describing: answer))")
                return
            }
        }
    }

    /// Has a disk come here, be served, and move on, so that it may come back.
    private func serveOnce(at address: PeerAddress, _ node: TestNode) async throws {
        let migration = MigrationID()
        try await prepare(migration, at: address, node)
        _ = try await node.say([commit(migration)], to: address, answers: 1)
        let image = try #require(node.arrivedImages.withLockedValue { $0["disk"] })
        node.bases.withLockedValue { $0["disk"] = ImageBase(image: image, movedBy: MigrationID()) }
    }

    /// Offers that disk as a stranger that names an attempt of its own, and calls `body` while the offer waits for the removal
    /// of that attempt.
    private func offer(
        at address: PeerAddress, _ node: TestNode, whileWaiting body: () async throws -> Void
    ) async throws -> Message? {
        let abandoned = MigrationID()
        let (waits, wait) = AsyncStream.makeStream(of: Void.self)
        let (goesOn, goOn) = AsyncStream.makeStream(of: Void.self)
        try await prepare(abandoned, as: "other", isAnswered: true, at: address, node)
        node.beforeWithdrawal.withLockedValue {
            $0 = { _ in
                wait.finish()
                for await _ in goesOn {}
            }
        }
        async let answer = node.say(offering(MigrationID(), abandoned: [abandoned]), to: address, answers: 2).last
        for await _ in waits {}
        try await body()
        goOn.finish()
        return try await answer
    }

    @Test("Invariant 10: a source is asked what was read most, once for each connection, and says no more than that")
    func mostRead() async throws {
        let node = try TestNode()
        let migration = MigrationID()
        try await node.receiving { address in
            let left = try await node.say(offering(migration) + [.postcopy(.leave)], to: address, answers: 4)
            #expect(left[2] == .postcopy(.missing([BlockRange(first: 0, count: 3)])))
            _ = try await node.say([commit(migration)], to: address, answers: 1)
            func answer(_ answers: [Message], support: ProtocolSupport = .own, _ count: Int) async throws -> [Message] {
                var hello = Hello(purpose: .bulk, migration: migration, isCommitted: true, export: "disk")
                hello.support = support
                return Array(try await node.say([.hello(hello)] + answers, to: address, answers: count).dropFirst())
            }
            let block = BlockRange(first: 0, count: 1)
            let describe = Message.postcopy(.describe([BlockRange(first: 0, count: 3)]))
            let rank = Message.postcopy(.rank)
            let tooMany = Array(repeating: block, count: PostcopyMessage.maximumRanked + 1)
            let beyond = BlockRange(first: 2, count: 2)
            for ranges in [tooMany, [beyond], [BlockRange(first: .max, count: 2)], [BlockRange(first: 0, count: 0)]] {
                // It may hang up before its question has been read.
                let heard = (try? await answer([.postcopy(.mostRead(ranges))], 3)) ?? []
                #expect(!heard.contains(describe))
            }
            #expect(try await answer([.postcopy(.mostRead([]))], 3) == [rank, describe])
            let twice = [Message.postcopy(.mostRead([])), .postcopy(.mostRead([]))]
            guard case .refused? = try await answer(twice, 4).last else {
                Issue.record("an answer that nobody asked for is taken")
                return
            }
            let last = try await answer([.postcopy(.mostRead([BlockRange(first: 2, count: 1), block]))], 5)
            #expect(last.first == rank && last[1] == .postcopy(.describe([BlockRange(first: 2, count: 1)])))
            // A release that can't be asked.
            let old = ProtocolSupport(versions: ProtocolSupport.own.versions, capabilities: .postcopy)
            #expect(try await answer([], support: old, 2) == [describe])
        }
    }

    @Test("A source is asked about what is missing alone, an older one about all from the first to the last of it")
    func questions() async throws {
        let node = try TestNode()
        let bytes = [UInt8](repeating: 7, count: 4096)
        let piece = try bytes.withUnsafeBytes { try StreamCompressor(level: 3).compress($0, level: 3) }
        let data = DataSegment(runs: [BlockRange(first: 1, count: 1)], compressed: piece)
        let migration = MigrationID()
        try await node.receiving { address in
            let left = try await node.say(
                offering(migration) + [.data(data), .postcopy(.leave)], to: address, answers: 4)
            let missing = [BlockRange(first: 0, count: 1), BlockRange(first: 2, count: 1)]
            #expect(left[2] == .postcopy(.missing(missing)))
            _ = try await node.say([commit(migration)], to: address, answers: 1)
            func question(_ capabilities: ProtocolSupport.Capabilities) async throws -> Message {
                var hello = Hello(purpose: .bulk, migration: migration, isCommitted: true, export: "disk")
                hello.support.capabilities = capabilities
                return try await node.say([.hello(hello)], to: address, answers: 2)[1]
            }
            #expect(try await question([.postcopy, .describesRuns]) == .postcopy(.describe(missing)))
            #expect(try await question(.postcopy) == .postcopy(.describe([BlockRange(first: 0, count: 3)])))
        }
    }

    @Test("Blocks whose bytes were still to come are missing, though older ones are here")
    func named() async throws {
        let node = try TestNode()
        let old = [UInt8](repeating: 7, count: 4096)
        let piece = try old.withUnsafeBytes { try StreamCompressor(level: 3).compress($0, level: 3) }
        let block = BlockRange(first: 1, count: 1)
        try await node.receiving { address in
            let heard = try await node.say(
                offering(MigrationID()) + [
                    .data(DataSegment(runs: [block], compressed: piece)), .zeros(BlockRange(first: 0, count: 1)),
                    .zeros(BlockRange(first: 2, count: 1)), .manifestEnd, .roundEnd(1),
                    .data(DataSegment(runs: [block], compressed: ByteBuffer())), .postcopy(.leave),
                ], to: address, answers: 6)
            #expect(heard[4] == .postcopy(.missing([block])))
        }
    }

    @Test("What the source has named, in whatever order, need not be said to be missing, but to an older one")
    func unsaid() async throws {
        let (first, last) = (BlockRange(first: 0, count: 1), BlockRange(first: 2, count: 1))
        func heard(_ capabilities: ProtocolSupport.Capabilities, named: [BlockRange], _ answers: Int) async throws
            -> [Message]
        {
            let node = try TestNode()
            return try await node.receiving { address in
                let migration = MigrationID()
                var hello = Hello(purpose: .migrate, migration: migration)
                hello.support.capabilities = capabilities
                return try await node.say(
                    [.hello(hello)] + offering(migration).dropFirst() + [
                        .zeros(BlockRange(first: 1, count: 1)), .manifestEnd, .roundEnd(1),
                    ] + named.map { .postcopy(.dirty([$0])) } + [.roundEnd(2), .postcopy(.leave)],
                    to: address, answers: answers)
            }
        }
        let missing = Message.postcopy(.missing([first, last]))
        let own = ProtocolSupport.own.capabilities
        let silent = try await heard(own, named: [last, first], 6)
        #expect(!silent.contains(missing))
        guard case .prepared? = silent.last else {
            Issue.record("\(silent)")
            return
        }
        #expect(try await heard(own.subtracting(.unsaidMissing), named: [last, first], 7)[5] == missing)
        #expect(try await heard(own, named: [last], 7)[5] == missing, "not all of it was named")
    }

    @Test("Bytes that are owed at the end of a round end the migration")
    func owed() async throws {
        let node = try TestNode()
        try await node.receiving { address in
            let named = DataSegment(runs: [BlockRange(first: 1, count: 1)], compressed: ByteBuffer())
            let heard = try await node.say(
                offering(MigrationID()) + [.data(named), .manifestEnd, .roundEnd(1)], to: address, answers: 4)
            guard case .failed? = heard.last else {
                Issue.record("\(heard)")
                return
            }
        }
    }

    @Test("An attempt that was given up is dropped though the disk has another name by now")
    func renamed() async throws {
        let node = try TestNode()
        let first = MigrationID()
        try await node.receiving { address in
            try await prepare(first, at: address, node)
            let messages = offering(MigrationID(), abandoned: [first], as: "renamed")
            let answers = try await node.say(messages, to: address, answers: 2)
            #expect(answers.last == .accepted)
            guard case .refused? = try await node.say([commit(first)], to: address, answers: 1).first else {
                Issue.record("the dropped disk was taken over")
                return
            }
        }
    }

    @Test("A source whose link is cut after its word finds the destination again, and its guest only waited")
    func cutAfterTheWord() async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 1 << 20, &random)
        let guest = try source.guest(on: disk, image, seed: 3)
        try await destination.receiving { address in
            _ = try await source.migration(of: disk, image, to: address).run { _ in }
        }
        // The destination is gone; requests wait, and come to an end at its next life, at another port.
        let record = try #require(try SourceRecords(directory: source.state, image: image).moved())
        #expect(record.export == "disk")
        try await destination.receiving { address in
            let moved = try MovedRecord(
                export: record.export, image: image, migration: record.migration, destination: address,
                root: "")
            let link = ForwardLink(record: moved, transport: source.transport, logger: TestNode.quiet)
            let forwarded = Disk(
                size: disk.size, device: ForwardingDevice(forwarder: link), loops: [source.loop])
            let later = Guest(client: source.client(forwarded), contents: guest.model, seed: 4)
            for _ in 0..<50 { #expect(await later.step() == 0) }
            #expect(await later.finds(through: source.client(forwarded)))
            #expect(try TestNode.contents("\(destination.images)/disk.raw") == later.model)
            link.stop()
        }
    }
}
