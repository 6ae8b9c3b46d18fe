import NIOCore
import NIOEmbedded
import Testing

@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol
@testable import Peer
@testable import PeerModel

@Suite("Limits on peers")
struct PeerLimitsTests {
    @Test("A peer has no more places than its own, all of them no more than there are, and what is given back is free")
    func counts() {
        var counts = PeerCounts<String>(limit: 5, limitPerPeer: 3)
        let taken = ["a", "a", "a", "a", "b", "b", "b", "c"].map { counts.take($0) }
        #expect(taken == [true, true, true, false, true, true, false, false])
        counts.giveBack("a")
        let isFree = counts.take("c")
        #expect(isFree)
        #expect(counts.count(of: "a") == 2 && counts.total == 5)
    }

    @Test("One peer may bring so many disks at once, others then still may, and no more than a node takes")
    func arriving() throws {
        var places = ArrivalPlaces<PeerIdentity>()
        for _ in 0..<PeerLimits.arrivingPerPeer { places.begin(MigrationID(), blocks: 1, from: .address("1.1.1.1")) }
        #expect(throws: MigrationError.self) { try places.check("disk", blocks: 1, from: .address("1.1.1.1")) }
        for _ in PeerLimits.arrivingPerPeer..<PeerLimits.arriving {
            try places.check("disk", blocks: 1, from: .address("2.2.2.2"))
            places.begin(MigrationID(), blocks: 1, from: .address("2.2.2.2"))
        }
        #expect(throws: MigrationError.self) { try places.check("disk", blocks: 1, from: .address("3.3.3.3")) }
    }

    @Test("Disks that were switched over and are not whole count, until they are")
    func unfinished() throws {
        var places = ArrivalPlaces<PeerIdentity>()
        var last = MigrationID()
        for _ in 0..<PeerLimits.unfinishedPerPeer {
            last = MigrationID()
            try places.check("disk", blocks: 1, from: .address("1.1.1.1"))
            places.begin(last, blocks: 1, from: .address("1.1.1.1"))
            places.disconnect(last)
        }
        #expect(throws: MigrationError.self) { try places.check("disk", blocks: 1, from: .address("1.1.1.1")) }
        try places.check("disk", blocks: 1, from: .address("2.2.2.2"))
        places.end(last)
        try places.check("disk", blocks: 1, from: .address("1.1.1.1"))
    }

    @Test("Unfinished disks of one peer have no more blocks together than the largest disk")
    func blocks() throws {
        var places = ArrivalPlaces<PeerIdentity>()
        let (first, second) = (MigrationID(), MigrationID())
        try places.check("disk", blocks: PeerLimits.unfinishedBlocksPerPeer, from: .address("1.1.1.1"))
        places.begin(first, blocks: PeerLimits.unfinishedBlocksPerPeer - 1, from: .address("1.1.1.1"))
        try places.check("disk", blocks: 1, from: .address("1.1.1.1"))
        #expect(throws: MigrationError.self) { try places.check("disk", blocks: 2, from: .address("1.1.1.1")) }
        try places.check("disk", blocks: 2, from: .address("2.2.2.2"))
        places.begin(second, blocks: 1, from: .address("1.1.1.1"))
        places.end(first)
        try places.check("disk", blocks: 2, from: .address("1.1.1.1"))
    }

    @Test("A long frame is announced once, comes only when it is let in, and nothing is read meanwhile")
    func gate() throws {
        let limit = FrameLimit(10)
        let channel = EmbeddedChannel()
        let reads = ReadCounter()
        try channel.pipeline.syncOperations.addHandlers(
            reads, FrameGate(limit), ByteToMessageHandler(FrameCodec(limit: limit)))
        func say(_ bytes: [UInt8]) throws { try channel.writeInbound(ByteBuffer(bytes: bytes)) }
        func heard() throws -> Int? { try channel.readInbound(as: ByteBuffer.self)?.readableBytes }
        limit.announce(upTo: 100)
        try say([0, 0, 0, 2, 1, 1, 0, 0, 0, 20] + Array(repeating: 7, count: 5))
        #expect(try heard() == 2)
        #expect(try heard() == 0)
        #expect(limit.waiting == 20)
        channel.read()
        #expect(reads.count == 0)
        // Whole by now, with one behind it.
        try say(Array(repeating: 7, count: 15) + [0, 0, 0, 1, 9])
        #expect(try heard() == nil)
        limit.letCome()
        try channel.triggerUserOutboundEvent(FramesMayCome()).wait()
        #expect(try heard() == 20)
        #expect(try heard() == 1)
        #expect(reads.count == 1)
        #expect(limit.waiting == 0)
        #expect(throws: PeerError.self) { try say([0, 0, 0, 101]) }
        _ = try? channel.finish()
    }

    private final class ReadCounter: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        var count = 0
        func read(context: ChannelHandlerContext) {
            count += 1
            context.read()
        }
    }

    @Test("A peer is its certificate where it has one, otherwise its address, of IPv6 the network")
    func identity() throws {
        func peer(_ address: String) throws -> PeerIdentity {
            PeerIdentity(of: try SocketAddress(ipAddress: address, port: 1))
        }
        #expect(try peer("10.0.0.1") == peer("10.0.0.1"))
        #expect(try peer("10.0.0.1") != peer("10.0.0.2"))
        #expect(try peer("2001:db8:0:1::1") == peer("2001:db8:0:1:ffff::2"))
        #expect(try peer("2001:db8:0:1::1") != peer("2001:db8:0:2::1"))
        #expect(try peer("::ffff:10.0.0.1") != peer("::ffff:10.0.0.2"))
    }
}
