import NIOCore
import TestSupport
import Testing

@testable import Hashing
@testable import MigrationProtocol
@testable import PeerModel

@Suite("Peer messages")
struct MessageCodecTests {
    static let samples: [Message] = [
        .hello(Hello(purpose: .forward, migration: MigrationID(), isCommitted: true, export: "dïsk")),
        .hello(Hello(purpose: .migrate, migration: MigrationID())),
        .welcome(Welcome(blockSize: 4096)),
        .refused(reason: "no"),
        .offer(
            Offer(migration: MigrationID(), abandoned: [], export: "disk", size: 1 << 40, blockSize: 4096)),
        .offer(
            Offer(
                migration: MigrationID(), abandoned: [], export: "disk", size: 1 << 40, blockSize: 4096,
                details: OfferDetails(isReadOnly: true, dataBytes: 1 << 30, dataBesides: 5))),
        .offer(
            Offer(
                migration: MigrationID(), abandoned: [], export: "disk", size: 1 << 40, blockSize: 4096,
                details: OfferDetails())),
        .offer(
            Offer(
                migration: MigrationID(), abandoned: [], export: "disk", size: 1, blockSize: 512,
                domains: ["shop", String(repeating: "x", count: 255)])),
        .offer(
            Offer(
                migration: MigrationID(), abandoned: [MigrationID(), MigrationID()], export: "d", size: 1,
                blockSize: 512)),
        .manifest(
            ManifestSegment(
                first: 7,
                entries: [.zero, .prefix(.max), .later, .zero, .later])),
        .manifestEnd,
        .summary(
            ManifestSummary(
                first: 7, count: 33, groups: [Fingerprint(high: 1, low: 2), Fingerprint(high: 3, low: .max)])),
        .acceptedOnBase,
        .differences(ManifestDifferences(first: 7, differs: [true, false, true], present: 4096)),
        .prefixQuestion(PrefixQuestion(prefixes: [1, 2, .max], isFinal: true)),
        .prefixAnswer(PrefixAnswer(has: [false, true], digest: Fingerprint(high: 1, low: 2))),
        .zeros(BlockRange(first: 3, count: 1 << 50)),
        .data(DataSegment(runs: [BlockRange(first: 9, count: 2)], compressed: ByteBuffer(bytes: [1, 2, 3]))),
        .roundEnd(3),
        .prepare(DiskRoot(Array(0..<32))),
        .commit,
        .cancel(reason: "later"),
        .accepted,
        .wants(Wants(first: 1, wanted: [true, false, true], present: 1, repeated: 2, neighbour: 3)),
        .manifestDone,
        .roundDone(3),
        .prepared(DiskRoot(Array(0..<32))),
        .active,
        .failed(reason: "full"),
        .request(
            ForwardRequest(
                id: 5, kind: .write, isForced: true, mayPunchHole: false, offset: 8, length: 2,
                payload: ByteBuffer(bytes: [4, 5]))),
        .answer(ForwardAnswer(id: 5, error: 28, payload: ByteBuffer())),
        .introduce([MigrationID(), MigrationID()]),
        .introduced,
        .successor(Successor(address: PeerAddress(host: "2001:db8::1", port: 10810), mayRepeat: true)),
        .hello(Hello(purpose: .bulk, migration: MigrationID(), isCommitted: true, export: "d")),
        .bitmap(BitmapPart(name: "b", map: .shown, runs: [BlockRange(first: 3, count: 2)])),
        .postcopy(.expect(.firstWrite)),
        .postcopy(.dirty([BlockRange(first: 3, count: 2), BlockRange(first: 9, count: 1)])),
        .postcopy(.leave), .postcopy(.switchNow),
        .postcopy(.missing([])),
        .postcopy(.describe([BlockRange(first: 3, count: 2)])),
        .postcopy(.left(missing: 1 << 40, milliseconds: 17)), .postcopy(.left(missing: 0, milliseconds: nil)),
        .postcopy(.describe([BlockRange(first: 3, count: 2), BlockRange(first: 9, count: 1)])),
        .postcopy(.need([BlockRange(first: 3, count: 2)])),
        .postcopy(.replaced([BlockRange(first: 3, count: 2)])),
        .postcopy(.verify), .postcopy(.released), .postcopy(.rank),
        .postcopy(.mostRead([])),
        .postcopy(.free([BlockRange(first: 7, count: 9)])),
        .postcopy(.mostRead([BlockRange(first: 7, count: 9), BlockRange(first: 0, count: 1)])),
        .postcopy(.complete(Ledger(zero: 1, present: 2, repeated: 3, neighbour: 4, link: 5))),
        .postcopy(.unreadable(BlockRange(first: 3, count: 2), error: 5)),
        .postcopy(.verified(DiskRoot(Array(0..<32)))),
    ]

    @Test("What is encoded is decoded as it was", arguments: samples)
    func roundTrip(_ message: Message) throws {
        #expect(try Message(frame: message.encoded()) == message)
    }

    @Test(
        "A message cut short anywhere is refused, unless its end is a payload of any length",
        arguments: samples)
    func truncated(_ message: Message) throws {
        let whole = message.encoded()
        for length in 0..<whole.readableBytes {
            let cut = whole.getSlice(at: 0, length: length)!
            if let decoded = try? Message(frame: cut) {
                let hasOpenEnd =
                    switch message {
                    case .data, .request, .answer: true
                    case .offer(var offer):
                        {
                            // As a release that knows of no details offers it.
                            offer.details = nil
                            return decoded == .offer(offer)
                        }()
                    default: false
                    }
                #expect(hasOpenEnd, "\(length) bytes of \(message) were taken for \(decoded)")
            }
        }
    }

    @Test("A byte too many is refused, but for those that a later release may make longer", arguments: samples)
    func tooLong(_ message: Message) throws {
        var frame = message.encoded()
        switch message {
        case .data, .request, .answer: return
        default: frame.writeInteger(UInt8(0))
        }
        if case .hello = message { return #expect(try Message(frame: frame) == message) }
        if case .welcome = message { return #expect(try Message(frame: frame) == message) }
        if case .refused = message { return #expect(try Message(frame: frame) == message) }
        #expect(throws: MigrationError.self) { try Message(frame: frame) }
    }

    @Test("A reason of any length arrives, cut short", arguments: ["x", "é", "e\u{301}\u{302}\u{303}", "👩‍👩‍👧‍👦"])
    func longReason(_ character: String) throws {
        let long = String(repeating: character, count: 5000)
        guard case .failed(let reason) = try Message(frame: Message.failed(reason: long).encoded()) else {
            throw MigrationError.unexpected("another message")
        }
        #expect(reason.utf8.count > 4080 && long.utf8.starts(with: reason.utf8))
    }

    @Test("A reason gives a terminal no orders")
    func orders() throws {
        let heard = try Message(frame: Message.failed(reason: "a\nb\u{1b}[2J\u{9b}c\0 é").encoded())
        #expect(heard == .failed(reason: "a?b?[2J?c? é"))
    }

    @Test("Invariant 10: random bytes and random changes never crash the parser")
    func fuzz() {
        var random = Seeded.fresh()
        for _ in 0..<20_000 {
            var bytes = Array(Self.samples.randomElement(using: &random)!.encoded().readableBytesView)
            if Bool.random(using: &random) { bytes = random.bytes(Int.random(in: 0...80, using: &random)) }
            for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8(
                    truncatingIfNeeded: random.next())
            }
            _ = try? Message(frame: ByteBuffer(bytes: bytes))
        }
    }
}
