import NIOCore
import TestSupport
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("The two state machines of a migration")
struct StateMachineTests {
    private static let offer = Offer(
        migration: MigrationID(), abandoned: [], export: "disk", size: 10_000, blockSize: 4096)
    private static let root = DiskRoot(Array(repeating: 7, count: 32))

    /// Everything that a source may say, right or wrong.
    private static let messages: [Message] = [
        .offer(offer), .manifest(ManifestSegment(first: 0, entries: [.zero, .later])), .manifestEnd,
        .zeros(BlockRange(first: 0, count: 3)), .zeros(BlockRange(first: 2, count: .max)),
        .data(DataSegment(runs: [BlockRange(first: 2, count: 1)], compressed: ByteBuffer(bytes: [1]))),
        .data(DataSegment(runs: [BlockRange(first: 2, count: 2)], compressed: ByteBuffer())),
        .data(DataSegment(runs: [], compressed: ByteBuffer())),
        .roundEnd(1), .roundEnd(2), .prepare(root), .commit, .cancel(reason: ""),
        .accepted, .active, .prepared(root),
        .request(
            ForwardRequest(
                id: 1, kind: .write, isForced: false, mayPunchHole: true, offset: 0, length: 0,
                payload: ByteBuffer())),
    ]

    @Test("Questions for a prefix: two at most, none behind the final one, and none for more than 128 MiB")
    func prefixes() throws {
        func question(_ count: Int, isFinal: Bool = false) -> Message {
            .prefixQuestion(PrefixQuestion(prefixes: Array(repeating: 1, count: count), isFinal: isFinal))
        }
        var machine = DestinationMachine()
        #expect(throws: MigrationError.self) { try machine.receive(question(1)) }
        _ = try machine.receive(.offer(Self.offer))
        var other = machine
        for _ in 0..<2 {
            #expect(try machine.receive(question(3)) == .answer(PrefixQuestion(prefixes: [1, 1, 1], isFinal: false)))
        }
        #expect(throws: MigrationError.self) { try machine.receive(question(1)) }
        _ = try other.receive(question(1, isFinal: true))
        #expect(throws: MigrationError.self) { try other.receive(question(1)) }
        var large = DestinationMachine()
        _ = try large.receive(
            .offer(Offer(migration: MigrationID(), abandoned: [], export: "disk", size: 1 << 30, blockSize: 65536)))
        #expect(throws: MigrationError.self) { try large.receive(question(2049)) }
        _ = try large.receive(question(2048))
    }

    @Test("Invariant 5: no sequence of messages activates a disk that was not prepared, or has been given up")
    func exhaustive() {
        func walk(_ machine: DestinationMachine, isPrepared: Bool, isOver: Bool, depth: Int) -> Int {
            guard depth > 0 else { return 1 }
            var paths = 0
            for message in Self.messages {
                var next = machine
                guard let action = try? next.receive(message) else { continue }
                #expect(!isOver, "\(message) was heard after the end")
                var prepared = isPrepared
                switch action {
                case .activate:
                    #expect(isPrepared)
                    next.activated()
                case .prepare:
                    next.prepared()
                    prepared = true
                case .store(_, let bytes):
                    #expect(bytes == 10_000 - 2 * 4096, "the last block is shorter")
                case .clear(let blocks):
                    #expect(blocks.upperBound <= 3)
                default: break
                }
                let isOver = next.state == .active || next.state == .abandoned
                paths += walk(next, isPrepared: prepared, isOver: isOver, depth: depth - 1)
            }
            return paths
        }
        #expect(walk(DestinationMachine(), isPrepared: false, isOver: false, depth: 6) > 100)
    }

    @Test(
        "Blocks of a dirty bitmap -> noted while rounds are received; beyond the disk, before an offer or twice prepared: no"
    )
    func bitmap() throws {
        let part = BitmapPart(name: "b", map: .current, runs: [BlockRange(first: 1, count: 1)])
        var machine = DestinationMachine()
        #expect(throws: MigrationError.self) { try machine.receive(.bitmap(part)) }
        // Two blocks of a bitmap, which are sixteen of the migration.
        _ = try machine.receive(
            .offer(Offer(migration: MigrationID(), abandoned: [], export: "disk", size: 8192, blockSize: 512)))
        #expect(try machine.receive(.bitmap(part)) == .note(part))
        for run in [BlockRange(first: 2, count: 1), BlockRange(first: 0, count: 3), BlockRange(first: 0, count: 0)] {
            var other = part
            other.runs = [run]
            #expect(throws: MigrationError.self) { try machine.receive(.bitmap(other)) }
        }
        machine.prepared()
        #expect(throws: MigrationError.self) { try machine.receive(.bitmap(part)) }
    }

    @Test("A dirty bitmap is said only to a destination that takes it")
    func bitmapCapability() throws {
        for capabilities in [ProtocolSupport.own.capabilities, ProtocolSupport.own.capabilities.subtracting(.bitmaps)] {
            var machine = SourceMachine(size: 1 << 20)
            let support = ProtocolSupport(versions: 3...3, capabilities: capabilities)
            _ = try machine.receive(.welcome(Welcome(support: support, blockSize: 4096)))
            guard case .next(.open(let opened)) = try machine.receive(.accepted) else {
                Issue.record("not opened")
                continue
            }
            #expect(opened.takesBitmap == capabilities.contains(.bitmaps))
        }
    }

    @Test(
        "A disk that can't be is refused",
        arguments: [
            (0 as UInt64, 4096 as UInt32, "disk"), (1 << 63, 4096, "disk"), (4096, 0, "disk"),
            (4096, 4097, "disk"),
            (4096, 256, "disk"), (4096, 131072, "disk"), (4096, 4096, "../disk"), (4096, 4096, ".disk"),
            (4096, 4096, ""),
            (4096, 4096, "a\u{0}b"), (4096, 4096, String(repeating: "x", count: 201)),
        ])
    func refused(_ size: UInt64, _ blockSize: UInt32, _ export: String) {
        var machine = DestinationMachine()
        let offer = Offer(
            migration: MigrationID(), abandoned: [], export: export, size: size, blockSize: blockSize)
        #expect(throws: MigrationError.self) { try machine.receive(.offer(offer)) }
        #expect(machine.state == .waiting)
    }
}
