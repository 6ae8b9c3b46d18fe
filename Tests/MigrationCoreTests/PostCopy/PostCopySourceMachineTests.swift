import BlockModel
import NIOCore
import PeerModel
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("The machine of the source of a post-copy")
struct PostCopySourceMachineTests {
    private static let now = ContinuousClock.now
    private static let geometry = BlockGeometry(size: 100_000 * 4096 - 1, blockSize: 4096)!

    private func machine(isCommitted: Bool = true) -> PostCopySourceMachine {
        var machine = PostCopySourceMachine(geometry: Self.geometry, limits: .init(readBytes: 1 << 20))
        if isCommitted { machine.commit(pathCarries: 0, at: Self.now) }
        return machine
    }

    private static func range(_ first: UInt64, _ count: UInt64) -> BlockRange { BlockRange(first: first, count: count) }

    private static func request(_ kind: RequestKind, _ offset: UInt64, _ length: UInt64) -> Message {
        .request(
            ForwardRequest(
                id: 1, kind: kind, isForced: false, mayPunchHole: true, offset: offset, length: length,
                payload: ByteBuffer()))
    }

    private static let size = geometry.size
    private static let refused: [Message] = [
        request(.read, size, 1), request(.read, .max, 2), request(.read, 0, (1 << 20) + 1), request(.write, 0, 1),
        .postcopy(.describe([])), .postcopy(.describe([range(0, 4097)])), .postcopy(.describe([range(0, 0)])),
        .postcopy(.describe([range(99_999, 2)])), .postcopy(.describe([range(.max, 2)])),
        .postcopy(.need([range(0, 65537)])), .postcopy(.need([range(0, 65536), range(0, 1)])),
        .postcopy(.need([range(100_000, 1)])), .postcopy(.replaced([range(5, 1), range(4, 1)])),
        .postcopy(.replaced([range(100_000, 1)])), .postcopy(.released), .postcopy(.mostRead([])), .commit, .active,
        .refused(reason: "no"),
    ]

    @Test("A message out of bounds or out of turn -> refused", arguments: refused, PostCopyChannel.allCases)
    func outOfTurn(_ message: Message, _ channel: PostCopyChannel) {
        var machine = machine()
        machine.channelUp(channel)
        #expect(throws: MigrationError.self) { try machine.receive(message, on: channel, at: Self.now) }
    }

    @Test("A read up to the last byte of the disk, and a flush -> answered before the switchover")
    func early() throws {
        var machine = machine(isCommitted: false)
        machine.channelUp(.demand)
        #expect(!machine.isCommitted)
        let read = try machine.receive(Self.request(.read, Self.size - 1, 1), on: .demand, at: Self.now)
        guard case .read(1, Self.size - 1, 1)? = read.first else {
            Issue.record("\(read)")
            return
        }
        machine.answered(on: .demand)
        guard case .flush(1)? = try machine.receive(Self.request(.flush, 0, 0), on: .demand, at: Self.now).first else {
            Issue.record("no flush")
            return
        }
    }

    @Test("Complete before the switchover -> refused; after it released once, however often it is said")
    func release() throws {
        var machine = machine(isCommitted: false)
        let complete = Message.postcopy(.complete(Ledger(link: .max)))
        #expect(throws: MigrationError.self) { try machine.receive(complete, on: .bulk, at: Self.now) }
        machine.commit(pathCarries: 0, at: Self.now)
        guard case .recordRelease(let ledger)? = try machine.receive(complete, on: .bulk, at: Self.now).first else {
            Issue.record("no release")
            return
        }
        #expect(ledger == Ledger(link: Self.size), "a peer may say anything")
        #expect(!machine.isReleased, "it is not durable yet")
        #expect(machine.released(ledger).count == 2)
        #expect(machine.isReleased && machine.isOver && machine.ledger == ledger)
        let again = machine.released(ledger)
        guard again.count == 1, case .sayReleased? = again.first else {
            Issue.record("\(again)")
            return
        }
        machine.commit(pathCarries: 0, at: Self.now)
        #expect(machine.isReleased, "there is no way back")
    }

    @Test("Replaced blocks -> left out of the next root of that channel, and of no other")
    func replaced() throws {
        var machine = machine()
        func take(_ message: PostcopyMessage, on channel: PostCopyChannel) throws -> [Range<UInt64>]? {
            defer { machine.answered(on: channel) }
            guard case .sendRoot(let blocks)? = try machine.receive(.postcopy(message), on: channel, at: Self.now).first
            else { return nil }
            return Array(blocks)
        }
        #expect(try take(.replaced([Self.range(1, 1), Self.range(4, 2)]), on: .bulk) == nil)
        #expect(try take(.replaced([Self.range(8, 1)]), on: .bulk) == nil)
        #expect(throws: MigrationError.self) { try take(.replaced([Self.range(8, 1)]), on: .bulk) }
        #expect(try take(.verify, on: .demand) == [])
        #expect(try take(.verify, on: .bulk) == [1..<2, 4..<6, 8..<9])
        #expect(try take(.verify, on: .bulk) == [])
        #expect(try take(.replaced([Self.range(1, 1)]), on: .bulk) == nil)
        machine.channelUp(.bulk)
        #expect(try take(.verify, on: .bulk) == [], "a new connection says them anew")
    }

    @Test("Bulk waits from a demand to its answer, or to the end of its channel")
    func priority() throws {
        var machine = machine()
        let need = Message.postcopy(.need([Self.range(1, 2)]))
        _ = try machine.receive(need, on: .bulk, at: Self.now)
        #expect(!machine.mustBulkWait)
        machine.answered(on: .bulk)
        guard case .send([1, 2], batch: 32)? = try machine.receive(need, on: .demand, at: Self.now).first else {
            Issue.record("not sent")
            return
        }
        #expect(machine.mustBulkWait)
        machine.answered(on: .demand)
        #expect(!machine.mustBulkWait)
        // It is told, and asks nothing.
        _ = try machine.receive(.postcopy(.left(missing: 1, milliseconds: nil)), on: .demand, at: Self.now)
        #expect(!machine.mustBulkWait)
        _ = try machine.receive(need, on: .demand, at: Self.now)
        machine.channelDown(.demand)
        #expect(!machine.mustBulkWait)
    }

    @Test("What is left -> as far as it can be true, and without a time once nobody says it any more")
    func left() throws {
        var machine = machine()
        #expect(machine.left == nil)
        _ = try machine.receive(.postcopy(.left(missing: .max, milliseconds: 1500)), on: .demand, at: Self.now)
        #expect(machine.left == .init(blocks: 100_000, bytes: 100_000 * 4096, seconds: 1.5))
        machine.channelDown(.bulk)
        #expect(machine.left?.seconds == 1.5)
        machine.channelDown(.demand)
        #expect(machine.left == .init(blocks: 100_000, bytes: 100_000 * 4096, seconds: nil))
    }

    @Test("A problem -> reported when it is new, and over with the first answer, not with a connection")
    func problems() throws {
        var machine = machine()
        #expect(machine.failed("down") == true)
        #expect(machine.failed("down") == false)
        #expect(machine.failed("worse") == true)
        machine.channelUp(.bulk)
        _ = try machine.receive(.postcopy(.left(missing: 1, milliseconds: nil)), on: .demand, at: Self.now)
        machine.answered(on: .demand)
        #expect(machine.problem == "worse", "no question has been answered")
        _ = try machine.receive(.postcopy(.rank), on: .bulk, at: Self.now)
        machine.answered(on: .bulk)
        #expect(machine.problem == nil)
        machine.stop()
        #expect(machine.failed("down") == false, "it ends because it was stopped")
    }

    @Test("What the path carried while the disk was copied -> counts once, after the switchover")
    func path() {
        let path = PathState(
            roundTrip: .milliseconds(10), shortestRoundTrip: .milliseconds(10), bytesPerSecond: 1_000_000)
        var machine = machine(isCommitted: false)
        machine.channelUp(.bulk)
        #expect(machine.isPathDue(at: Self.now))
        #expect(machine.pathSeen(path, at: Self.now) == nil, "nobody demands anything yet")
        machine.commit(pathCarries: 100_000_000, at: Self.now)
        machine.channelUp(.bulk)
        let first = machine.pathSeen(path, at: Self.now)?.bytesPerSecond ?? 0
        #expect(first >= 100_000_000)
        machine.channelUp(.bulk)
        #expect((machine.pathSeen(path, at: Self.now)?.bytesPerSecond ?? 0) < first)
    }
}
