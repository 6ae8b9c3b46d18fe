import Block
import BlockModel
import MigrationProtocol
import NIOConcurrencyHelpers
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationCore

@Suite("The source's end of post-copy", .timeLimit(.minutes(10)))
struct PostCopySourceLinkTests {
    @Test(
        "Bulk waits for a demand that nobody reads -> it comes again once its connection is cut, and ends with the link",
        arguments: [true, false])
    func endsWhileBulkWaits(isCut: Bool) async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let size: UInt64 = 32 << 20
        let (_, image) = try node.makeDisk(size: size, &random)
        // Bulk is asked for the first block. Zeros, which every fourth block of such a disk has, wait for nothing.
        try random.bytes(4096).withUnsafeBytes { try image.write($0, at: 0) }
        let geometry = try #require(BlockGeometry(size: size, blockSize: 4096))
        let all = BlockRange(first: 0, count: geometry.blockCount)
        let (mayAsk, mayCut) = (WatchedValue(false), WatchedValue(false))
        let comings = NIOLockedValueBox(0)
        let script: @Sendable (Message, PeerConnection) async throws -> Bool = { message, connection in
            guard case .hello(let hello) = message else { return true }
            try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
            if hello.purpose == .bulk {
                comings.withLockedValue { $0 += 1 }
                // A busy machine may have ended a connection before it was asked anything.
                guard !mayCut.withLockedValue({ $0 }) else { return true }
                try await mayAsk.waitUnlessCancelled { $0 }
                try await connection.send(Message.postcopy(.need([BlockRange(first: 0, count: 1)])).encoded())
                try await mayCut.waitUnlessCancelled { $0 }
                return false
            }
            // More than the kernel's buffers hold, in one question: between two, bulk need not wait.
            try await connection.send(Message.postcopy(.need(Array(repeating: all, count: 8))).encoded())
            try await Task.sleep(for: .seconds(1000))
            return false
        }
        try await node.withPeer(script) { address in
            let link = PostCopySourceLink(
                parts: PostCopySourceLink.Parts(
                    destination: address, export: "disk", migration: MigrationID(), image: image, geometry: geometry,
                    reads: nil, free: nil, rate: RateLimit(bitsPerSecond: nil),
                    records: SourceRecords(directory: node.state, image: image), transport: node.transport,
                    pools: node.pools, logger: node.logger))
            link.commit()
            link.start()
            // From then on nothing but the end of its connection wakes bulk.
            try await waitUntil("the answer to the demand is stuck") {
                let before = link.wire.data
                try await Task.sleep(for: .milliseconds(100))
                return before > 0 && link.wire.data == before
            }
            let demand = try #require(link.state.withLockedValue { $0.connections[.demand] })
            mayAsk.withLockedValue { $0 = true }
            try await waitUntil("bulk waits") { link.state.waiting == 1 }
            let before = comings.withLockedValue { $0 }
            if isCut {
                mayCut.withLockedValue { $0 = true }
                try await waitUntil("bulk comes again") { comings.withLockedValue { $0 } > before }
                #expect(demand.isOpen, "it was the end of the demand that woke it")
            }
            let released = Task { await link.waitUntilReleased() }
            link.stop()
            await released.value
            await link.waitUntilEnded()
            #expect(link.state.waiting == 0)
        }
    }
}
