import Block
import Foundation
import Glibc
import NIOConcurrencyHelpers
import NIOCore
import Peer
import TestSupport
import Testing

@testable import BlockModel
@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("A chain of nodes is shortened", .timeLimit(.minutes(10)))
struct ChainTests {
    private func expectedLink(_ link: NIOLockedValueBox<ForwardLink?>) throws -> ForwardLink {
        try #require(link.withLockedValue { $0 })
    }

    /// Moves the disk that has arrived at `node` on, as `Node` does.
    private func moveOn(from node: TestNode, to address: PeerAddress) async throws -> ForwardLink {
        let disk = try #require(node.arrived.withLockedValue { $0["disk"] })
        let image = try #require(node.arrivedImages.withLockedValue { $0["disk"] })
        let link = NIOLockedValueBox<ForwardLink?>(nil)
        _ = try await node.migration(of: disk, image, to: address).run { new in link.withLockedValue { $0 = new } }
        let site = try #require(node.site.withLockedValue { $0 })
        await site.passOn(disk, over: try expectedLink(link), supply: nil)
        return try expectedLink(link)
    }

    private func hello(_ migration: MigrationID, _ capabilities: ProtocolSupport.Capabilities? = nil) -> Message {
        var hello = Hello(purpose: .forward, migration: migration, isCommitted: true, export: "disk")
        if let capabilities { hello.support.capabilities = capabilities }
        return .hello(hello)
    }

    private var flush: ForwardRequest {
        ForwardRequest(
            id: 1, kind: .flush, isForced: false, mayPunchHole: true, offset: 0, length: 0, payload: ByteBuffer())
    }

    @Test("Under a guest that writes: it goes on without the node in the middle, and all it wrote is at the last one")
    func underWrites() async throws {
        var random = Seeded.fresh()
        let (first, middle, last) = (try TestNode(), try TestNode(), try TestNode())
        let (disk, image) = try first.makeDisk(size: 2 << 20, &random)
        let guest = try first.guest(on: disk, image, seed: random.next())
        let link = NIOLockedValueBox<ForwardLink?>(nil)
        let records = SourceRecords(directory: first.state, image: image)
        try await last.receiving { lastAddress in
            let writing = Task { await guest.run(pausing: .microseconds(500)) }
            try await middle.receiving { middleAddress in
                _ = try await first.migration(of: disk, image, to: middleAddress).run { new in
                    link.withLockedValue { $0 = new }
                }
                #expect(try records.moved()?.destination == middleAddress)
                let onward = try await moveOn(from: middle, to: lastAddress)
                try await waitUntil("the first node forwards to the last") {
                    try expectedLink(link).destination == lastAddress
                }
                let record = try #require(try records.moved())
                #expect(record.destination == lastAddress && record.handedTo == middleAddress)
                // An older release is not told of it.
                let old = ProtocolSupport.own.capabilities.subtracting(.successors)
                let told = try await first.say([hello(record.migration)], to: middleAddress, answers: 2)
                #expect(told.last == .successor(Successor(address: lastAddress, mayRepeat: true)))
                let untold = try await first.say(
                    [hello(record.migration, old), .request(flush)], to: middleAddress, answers: 2)
                #expect(untold.last == .answer(ForwardAnswer(id: 1, error: 0, payload: ByteBuffer())))
                onward.stop()
            }
            let writes = guest.writes
            try await waitUntil("it writes without the middle") { guest.writes > writes + 50 }
            writing.cancel()
            #expect(await writing.value == 0, "a request of the guest failed")
            #expect(await guest.finds(through: first.client(disk)))
            #expect(try expectedLink(link).problem == nil)
            let arrived = try #require(last.arrived.withLockedValue { $0["disk"] })
            #expect(await guest.finds(through: last.client(arrived)))
            try expectedLink(link).stop()
        }
        #expect(try TestNode.contents("\(last.images)/disk.raw") == guest.model)
        let migration = try #require(try records.moved()).migration
        try await last.receiving { address in
            let heard = try await first.say([hello(migration)], to: address, answers: 1)
            #expect(heard == [.welcome(Welcome(blockSize: 0, boot: MachineBoot.current))], "in its next life too")
        }
    }

    // MARK: Peers of a link

    /// The link of a disk that moved to `address` in an earlier life, and a disk over it.
    private func link(
        of node: TestNode, _ image: RawImage, to address: PeerAddress, blockSize: Int? = nil
    ) throws -> (ForwardLink, DiskClient) {
        var record = try MovedRecord(
            export: "disk", image: image, migration: MigrationID(), destination: address, root: "")
        record.blockSize = blockSize
        let records = SourceRecords(directory: node.state, image: image)
        try records.commit(record)
        let link = ForwardLink(record: record, records: records, transport: node.transport, logger: node.logger)
        let disk = Disk(size: image.size, device: ForwardingDevice(forwarder: link), loops: [node.loop])
        return (link, node.client(disk))
    }

    private static let welcome = Message.welcome(Welcome(blockSize: 0, boot: 1))

    private static func done(_ request: ForwardRequest) -> Message {
        .answer(ForwardAnswer(id: request.id, error: 0, payload: ByteBuffer()))
    }

    @Test(
        "Invariant 9: nothing goes to the successor before all that was sent is answered, flushed and noted; cut, it stays",
        arguments: [false, true])
    func order(isCut: Bool) async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (_, image) = try node.makeDisk(size: 1 << 20, &random)
        let records = SourceRecords(directory: node.state, image: image)
        let events = NIOLockedValueBox<[String]>([])
        let late = NIOLockedValueBox<(PeerConnection, Message)?>(nil)
        let cuts = Countdown(isCut ? 1 : 0)
        let last: @Sendable (Message, PeerConnection) async throws -> Bool = { message, connection in
            if case .hello = message { try await connection.send(Self.welcome.encoded()) }
            guard case .request(let request) = message else { return true }
            let noted = try records.moved()?.handedTo != nil ? ", noted" : ""
            events.withLockedValue { $0.append("last \(request.kind) \(request.offset)\(noted)") }
            try await connection.send(Self.done(request).encoded())
            return true
        }
        try await node.withPeer(last) { lastAddress in
            let named = Message.successor(Successor(address: lastAddress, mayRepeat: true))
            let middle: @Sendable (Message, PeerConnection) async throws -> Bool = { message, connection in
                if case .hello = message { try await connection.send(Self.welcome.encoded()) }
                guard case .request(let request) = message else { return true }
                events.withLockedValue { $0.append("middle \(request.kind) \(request.offset)") }
                if request.kind == .write, request.offset == 4096 {
                    // Answered when the test says so.
                    late.withLockedValue { $0 = (connection, Self.done(request)) }
                    try await connection.send(named.encoded())
                    return true
                }
                if request.kind == .flush, late.withLockedValue({ $0 != nil }), cuts.next() { return false }
                try await connection.send(Self.done(request).encoded())
                return true
            }
            try await node.withPeer(middle) { middleAddress in
                let (link, client) = try link(of: node, image, to: middleAddress)
                let writing = Task { await write(client, at: 4096) }
                try await waitUntil("requests are held back") {
                    late.withLockedValue { $0 != nil } && link.state.withLockedValue { !$0.requests.takesRequests }
                }
                let heldBack = Task { await write(client, at: 8192) }
                try await waitUntil("there are two") { link.state.withLockedValue { $0.pending.count == 2 } }
                #expect(link.destination == middleAddress)
                let (connection, answer) = try #require(late.withLockedValue { $0 })
                try await connection.send(answer.encoded())
                #expect(await writing.value == 0)
                #expect(await heldBack.value == 0)
                try await waitUntil("it has moved") { link.destination == lastAddress }
                #expect(await write(client, at: 12288) == 0)
                link.stop()
            }
        }
        let before = ["middle flush 0", "middle write 4096", "middle flush 0"]
        let held = isCut ? ["middle write 8192", "middle flush 0"] : ["last write 8192, noted"]
        #expect(events.withLockedValue { $0 } == before + held + ["last write 12288, noted"])
    }

    private func write(_ client: DiskClient, at offset: UInt64) async -> CInt {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { memory.deallocate() }
        return await client.perform(.write, offset: offset, length: 4096, buffer: memory.baseAddress)
    }

    /// What a destination may say of its successor, and what status says then.
    enum Lie: CaseIterable {
        case nobodyThere, knowsNothing, saysNothing, elsewhereOnly, stillSupplied
    }

    @Test("A successor that can't be used leaves all as it is, and status says who is needed", arguments: Lie.allCases)
    func unusable(_ lie: Lie) async throws {
        var random = Seeded.fresh()
        let (node, stranger) = (try TestNode(), try TestNode())
        let (_, image) = try node.makeDisk(size: 1 << 20, &random)
        let closed = PeerAddress(host: "127.0.0.1", port: try FreePort.find())
        try await stranger.receiving { strangerAddress in
            try await node.withPeer({ _, _ in false }) { silent in
                let (successor, words) =
                    switch lie {
                    case .nobodyThere: (closed, "\(closed)")
                    case .knowsNothing: (strangerAddress, "no disk of that migration")
                    case .saysNothing: (silent, "is needed")
                    // Not encrypted, so beyond this machine it is not allowed.
                    case .elsewhereOnly: (PeerAddress(host: "192.0.2.1", port: 9), "TLS")
                    case .stillSupplied: (strangerAddress, "needs nothing of this node")
                    }
                let middle: @Sendable (Message, PeerConnection) async throws -> Bool = { message, connection in
                    if case .hello = message {
                        try await connection.send(Self.welcome.encoded())
                        let named = Successor(address: successor, mayRepeat: true)
                        try await connection.send(Message.successor(named).encoded())
                    }
                    if case .request(let request) = message {
                        try await connection.send(Self.done(request).encoded())
                    }
                    return true
                }
                try await node.withPeer(middle) { address in
                    let (link, client) = try link(
                        of: node, image, to: address, blockSize: lie == .stillSupplied ? 4096 : nil)
                    try await waitUntil("status says so") {
                        link.problem?.contains("\(address) is needed to reach \(successor)") == true
                    }
                    #expect(link.problem?.contains(words) == true, "\(link.problem ?? "")")
                    #expect(await client.perform(.flush) == 0)
                    #expect(link.destination == address)
                    let records = SourceRecords(directory: node.state, image: image)
                    #expect(try records.moved()?.destination == address)
                    link.stop()
                }
            }
        }
    }

    @Test("Invariant 5: a disk that has come back is not sent away again by a word that comes too late")
    func comesBack() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let (_, image) = try node.makeDisk(size: 1 << 20, &random)
        let records = SourceRecords(directory: node.state, image: image)
        let accepting: @Sendable (Message, PeerConnection) async throws -> Bool = { message, connection in
            if case .hello = message { try await connection.send(Self.welcome.encoded()) }
            return true
        }
        try await node.withPeer(accepting) { last in
            let flushed = NIOLockedValueBox(0)
            let middle: @Sendable (Message, PeerConnection) async throws -> Bool = { message, connection in
                if case .hello = message { try await connection.send(Self.welcome.encoded()) }
                guard case .request(let request) = message else { return true }
                let count = flushed.withLockedValue { count in
                    count += 1
                    return count
                }
                // The first is that of a node that has forwarded before; the second the last of all.
                if count == 1 {
                    try await connection.send(Message.successor(Successor(address: last, mayRepeat: true)).encoded())
                } else if let moved = try records.moved() {
                    try records.returned(from: moved.migration)
                }
                try await connection.send(Self.done(request).encoded())
                return true
            }
            try await node.withPeer(middle) { address in
                let (link, client) = try link(of: node, image, to: address)
                try await waitUntil("it has not gone there") {
                    link.problem?.contains("on its way back") == true
                        || link.problem?.contains("needs nothing") == true
                }
                #expect(try records.moved() == nil, "the record does not come to be again")
                #expect(link.destination == address)
                #expect(await client.perform(.flush) == 0)
                link.stop()
            }
        }
    }

    // MARK: Who may be introduced

    /// Brings a disk of zeros here by `migration`.
    private func bring(_ migration: MigrationID, as export: String, to address: PeerAddress, _ node: TestNode)
        async throws
    {
        let size: UInt64 = 10_000
        let root = try FingerprintFile(
            geometry: BlockGeometry(size: size, blockSize: 4096)!, directory: node.state.scratch
        ).root()
        let offer = Offer(migration: migration, abandoned: [], export: export, size: size, blockSize: 4096)
        let heard = try await node.say(
            [
                .hello(Hello(purpose: .migrate, migration: migration)), .offer(offer),
                .zeros(BlockRange(first: 0, count: 3)), .manifestEnd, .roundEnd(1), .prepare(root),
            ], to: address, answers: 5)
        #expect(heard.last == .prepared(root))
    }

    @Test("Invariant 10: a source introduces others to its own disk only, after the switchover, and not without end")
    func introductions() async throws {
        let node = try TestNode()
        let (own, foreign, other) = (MigrationID(), MigrationID(), MigrationID())
        func isLetIn(_ migration: MigrationID, _ address: PeerAddress) async throws -> Bool {
            if case .welcome? = try await node.say([hello(migration)], to: address, answers: 1).first {
                true
            } else {
                false
            }
        }
        try await node.receiving { address in
            try await bring(own, as: "own", to: address, node)
            try await bring(foreign, as: "foreign", to: address, node)
            let early = Hello(purpose: .forward, migration: own, export: "own")
            let request = Message.request(flush)
            _ = try await node.say([hello(foreign)], to: address, answers: 1)
            // Before its disk is switched over; what makes no sense says that it has been looked at.
            let nonsense = Message.accepted
            let heard = try await node.say([.hello(early), .introduce([other]), nonsense], to: address, answers: 2)
            guard case .refused? = heard.last else {
                Issue.record("\(heard)")
                return
            }
            #expect(!(try await isLetIn(other, address)))
            #expect(
                try await node.say([hello(own), .introduce([other, foreign, own])], to: address, answers: 2).last
                    == .introduced)
            #expect(try await isLetIn(other, address))
            // Not even a flood keeps requests from being served, nor are those forgotten that were let in.
            let many = (0..<OfferLimits.maximumAliases).map { _ in MigrationID() }
            let flooded = try await node.say([hello(own), .introduce(many), request], to: address, answers: 2)
            #expect(flooded.last == .answer(ForwardAnswer(id: 1, error: 0, payload: ByteBuffer())))
            #expect(!(try await isLetIn(many[0], address)))
        }
        try await node.receiving { address in
            #expect(try await isLetIn(other, address), "over a restart too")
            let names = node.arrived.withLockedValue { Set($0.keys) }
            try #require(names == ["own", "foreign"])
            let site = try #require(node.site.withLockedValue { $0 })
            let (ownDisk, foreignDisk) = node.arrived.withLockedValue { ($0["own"], $0["foreign"]) }
            let disks = (await site.disk(of: other), await site.disk(of: foreign))
            #expect(disks.0 === ownDisk && disks.1 === foreignDisk)
        }
    }
}
