import Block
import NIOCore
import Peer
import TestSupport
import Testing

@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol
@testable import PeerModel

@Suite("Sources that fall silent", .timeLimit(.minutes(10)))
struct SilentSourceTests {
    @Test("A source that makes an offer, says one thing and falls silent loses its place")
    func oneMessage() async throws {
        var silence = ArrivalIdleTimeout()
        silence.withinManifest = .milliseconds(200)
        let node = try TestNode()
        let migration = MigrationID()
        try await node.receiving(silence: silence) { address in
            try await node.offering(migration, to: address) { connection, frames in
                try await connection.send(Message.postcopy(.expect(.manual)).encoded())
                // Ends once the destination has closed it.
                while try await frames.next() != nil {}
            }
            let site = try #require(node.site.withLockedValue { $0 })
            try await waitUntil("its place is free") { await site.machine.isIdle(migration) }
        }
    }

    @Test("A source may be silent only until it has told what the disk is")
    func untilTheManifestEnds() throws {
        let geometry = try #require(BlockGeometry(size: 1 << 20, blockSize: 4096))
        let offer = Offer(migration: MigrationID(), abandoned: [], export: "disk", size: 1 << 20, blockSize: 4096)
        var patience = ArrivalIdleTimeout()
        #expect(patience.limit(after: .open(offer, geometry)) == PeerLimits.silenceAfterOffer)
        for action in [DestinationMachine.Action.expect(.manual), .clear(0..<1), .forget([0..<1])] {
            #expect(patience.limit(after: action) == PeerLimits.silenceWithinManifest)
        }
        #expect(patience.limit(after: .finishManifest) == nil)
        #expect(patience.limit(after: .clear(0..<1)) == nil, "it waits for the switchover")
        var early = ArrivalIdleTimeout()
        _ = early.limit(after: .open(offer, geometry))
        #expect(early.limit(after: .prepareRest) == nil)
    }
}
