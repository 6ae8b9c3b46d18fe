import Block
import Foundation
import Peer
import TestSupport
import Testing

@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol
@testable import PeerModel

/// Numbers of peers and of files that no disk and no link can have.
@Suite("Huge numbers", .timeLimit(.minutes(10)))
struct HugeNumbersTests {
    private static let huge = Ledger(zero: .max, present: .max, repeated: .max, neighbour: .max, link: .max)

    @Test("A destination whose ledger of the rest is absurd ends nothing, and the report stays within what can be")
    func ledger() async throws {
        var random = Seeded.fresh()
        let node = try TestNode()
        let size: UInt64 = 1 << 20
        let (disk, image) = try node.makeDisk(size: size, &random)
        let geometry = try #require(BlockGeometry(size: size, blockSize: 4096))
        let all = 0..<geometry.blockCount
        let root = try FingerprintFile(geometry: geometry, directory: node.scratch.path).root(without: [all])
        let script: @Sendable (Message) -> [Message]? = { message in
            switch message {
            case .hello(let hello):
                let welcome = Message.welcome(Welcome(blockSize: 4096))
                // It says so to whoever comes once the disk is its own.
                guard hello.purpose == .bulk else { return [welcome] }
                return hello.isCommitted ? [welcome, .postcopy(.complete(Self.huge))] : nil
            case .offer: return [.accepted]
            case .postcopy(.leave): return [.postcopy(.missing([BlockRange(all)])), .prepared(root)]
            case .commit: return [.active]
            case .postcopy(.released): return nil
            default: return []
            }
        }
        try await node.withPeer(answering: script) { address in
            let report = try await node.migration(of: disk, image, to: address, switchover: .now).run { _ in }
            #expect(report.ledger.total <= 10 * size, "\(report.ledger)")
            #expect(report.resent <= 10 * size)
        }
    }

    @Test("Sums of what peers and files say stay numbers")
    func sums() {
        var ledger = Self.huge
        ledger.add(Self.huge)
        ledger.add(Wants(first: 0, wanted: [], present: .max, repeated: .max, neighbour: .max))
        #expect(ledger == Self.huge && ledger.total == .max)
        var progress = MigrationProgress()
        (progress.done, progress.total, progress.wire, progress.dirty) = (.max, .max, .max, .max)
        progress.ledger = Self.huge
        let sum = MigrationProgress(of: [progress, progress])
        #expect(sum.done == .max && sum.total == .max && sum.ledger == Self.huge)
        // A guest of many huge disks at the lowest rate.
        #expect(SendingSpeed().time(for: 1 << 62, limit: 1) * 16 > .zero)
        var wire = WireBytes(data: .max, fingerprints: .max, control: .max, total: .max)
        wire.add(wire)
        #expect(wire.total == .max)
    }

    private static let impossible: [(size: UInt64, blockSize: Int)] = [
        (.max, 4096), (1 << 63, 4096), (0, 4096), (4096, -1), (4096, 0), (4096, 511), (4096, .max), (4096, .min),
        (4096, 1 << 17),
    ]

    @Test("A record of a disk that moved is damaged where its size or its blocks can't be", arguments: impossible)
    func movedRecord(size: UInt64, blockSize: Int) throws {
        let scratch = Scratch()
        let records = SourceRecords(
            directory: try StateDirectory(path: scratch.file("state")),
            image: try RawImage.create(path: scratch.file("disk.raw"), size: 4096))
        var record = try MovedRecord(
            export: "disk", image: records.image, migration: MigrationID(),
            destination: PeerAddress(host: "::1", port: 7), root: "")
        try records.commit(record)
        #expect(try records.moved() != nil)
        record.image?.identity?.size = size
        record.blockSize = blockSize
        try records.commit(record)
        #expect(throws: DamagedRecord.self) { try records.moved() }
    }
}
