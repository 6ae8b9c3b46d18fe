import Block
import Index
import NIOCore
import Peer

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

extension GoldenMessages {
    private static let id = "0123456789abcdeffedcba9876543210"
    private static let run = "0000000000000003 0000000000000002"
    private static let two = "00000002 0000000000000003 0000000000000002 0000000000000009 0000000000000001"
    private static let twoRuns = GoldenValues.runs((3, 2), (9, 1))

    private static func request(
        _ kind: RequestKind, isForced: Bool = false, mayPunchHole: Bool = false, _ payload: [UInt8] = []
    ) -> Message {
        .request(
            ForwardRequest(
                id: 5, kind: kind, isForced: isForced, mayPunchHole: mayPunchHole, offset: 4096, length: 2,
                payload: ByteBuffer(bytes: payload)))
    }

    static let forwarding: [GoldenMessage] = [
        GoldenMessage("read", request(.read), "30 0000000000000005 00 00 0000000000001000 0000000000000002"),
        GoldenMessage(
            "forced write", request(.write, isForced: true, [4, 5]),
            "30 0000000000000005 01 01 0000000000001000 0000000000000002 0405"),
        GoldenMessage(
            "flush", request(.flush, mayPunchHole: true),
            "30 0000000000000005 02 02 0000000000001000 0000000000000002"),
        GoldenMessage("trim", request(.trim), "30 0000000000000005 03 00 0000000000001000 0000000000000002"),
        GoldenMessage(
            "write of zeros that may leave a hole", request(.writeZeroes, isForced: true, mayPunchHole: true),
            "30 0000000000000005 04 03 0000000000001000 0000000000000002"),
        GoldenMessage("cache", request(.cache), "30 0000000000000005 05 00 0000000000001000 0000000000000002"),
        GoldenMessage("status", request(.status), "30 0000000000000005 06 00 0000000000001000 0000000000000002"),
        GoldenMessage(
            "answer with bytes", .answer(ForwardAnswer(id: 5, error: 0, payload: ByteBuffer(bytes: [6]))),
            "31 0000000000000005 00000000 06"),
        GoldenMessage(
            "answer with an error", .answer(ForwardAnswer(id: 1 << 32, error: 28, payload: ByteBuffer())),
            "31 0000000100000000 0000001c"),
        GoldenMessage(
            "introduce", .introduce([GoldenValues.first, GoldenValues.second]),
            "32 0002 \(id) 0000000000000001 0000000000000002"),
        GoldenMessage("introduced", .introduced, "33"),
        GoldenMessage(
            "successor", .successor(Successor(address: PeerAddress(host: "2001:db8::1", port: 10810), mayRepeat: true)),
            "34 2a3a 01 000b 323030313a6462383a3a31"),
        GoldenMessage(
            "successor that others write to",
            .successor(Successor(address: PeerAddress(host: "b", port: 7), mayRepeat: false)), "34 0007 00 0001 62"),
    ]

    static let postcopy: [GoldenMessage] = [
        GoldenMessage("expect converged", .postcopy(.expect(.converged)), "40 01 00"),
        GoldenMessage("expect first-write", .postcopy(.expect(.firstWrite)), "40 01 01"),
        GoldenMessage("expect manual", .postcopy(.expect(.manual)), "40 01 02"),
        GoldenMessage("expect now", .postcopy(.expect(.now)), "40 01 03"),
        GoldenMessage("dirty", .postcopy(.dirty(twoRuns)), "40 02 \(two)"),
        GoldenMessage("leave", .postcopy(.leave), "40 03"),
        GoldenMessage("switch now", .postcopy(.switchNow), "40 04"),
        GoldenMessage("missing", .postcopy(.missing(twoRuns)), "40 05 \(two)"),
        GoldenMessage("describe one run", .postcopy(.describe(GoldenValues.runs((3, 2)))), "40 10 \(run)"),
        GoldenMessage("need", .postcopy(.need(twoRuns)), "40 11 \(two)"),
        GoldenMessage("need nothing", .postcopy(.need([])), "40 11 00000000"),
        GoldenMessage("replaced", .postcopy(.replaced(twoRuns)), "40 12 \(two)"),
        GoldenMessage("verify", .postcopy(.verify), "40 13"),
        GoldenMessage(
            "complete", .postcopy(.complete(Ledger(zero: 1, present: 2, repeated: 3, neighbour: 4, link: 5))),
            "40 14 0000000000000001 0000000000000002 0000000000000003 0000000000000004 0000000000000005"),
        GoldenMessage("rank", .postcopy(.rank), "40 15"),
        GoldenMessage("describe several runs", .postcopy(.describe(twoRuns)), "40 16 \(two)"),
        GoldenMessage(
            "left", .postcopy(.left(missing: 1 << 40, milliseconds: 17)), "40 17 0000010000000000 00000011"),
        GoldenMessage(
            "left, and nobody knows for how long", .postcopy(.left(missing: 0, milliseconds: nil)),
            "40 17 0000000000000000 ffffffff"),
        GoldenMessage(
            "unreadable", .postcopy(.unreadable(BlockRange(first: 3, count: 2), error: 5)), "40 20 \(run) 00000005"),
        GoldenMessage("verified", .postcopy(.verified(GoldenValues.root)), "40 21 \(GoldenValues.rootHex)"),
        GoldenMessage("released", .postcopy(.released), "40 22"),
        GoldenMessage(
            "description",
            .postcopy(
                .description(
                    BlockDescription(first: 9, fingerprints: [.zero, Fingerprint(high: 1, low: 2), .zero]))),
            "40 23 0000000000000009 00000003 02 0000000000000001 0000000000000002"),
        GoldenMessage("most read", .postcopy(.mostRead(twoRuns)), "40 24 \(two)"),
        GoldenMessage("free", .postcopy(.free(twoRuns)), "40 25 \(two)"),
    ]

    static let neighbours: [GoldenMessage] = [
        GoldenMessage(
            "neighbour read",
            .neighbourRead(NeighbourRead(id: 7, table: Array(0..<16), offset: 0x0102, length: 0x10_0000)),
            "70 00000007 000102030405060708090a0b0c0d0e0f 0000000000000102 00100000"),
        GoldenMessage(
            "neighbour bytes", .neighbourBytes(NeighbourBytes(id: 7, payload: ByteBuffer(bytes: [1, 2]))),
            "71 00000007 0102"),
        GoldenMessage(
            "neighbour bytes that are not there", .neighbourBytes(NeighbourBytes(id: 7, payload: ByteBuffer())),
            "71 00000007"),
        GoldenMessage(
            "arrival question",
            .arrivalQuestion(
                ArrivalQuestion(
                    id: 7, order: ArrivalOrder(time: 1, number: 2), wait: 3, blockSize: 4096, domains: ["a"],
                    prefixes: [5])),
            "78 00000007 0000000000000001 0000000000000002 00000003 00001000 01 0001 61 00000001 0000000000000005"),
        GoldenMessage(
            "arrival question about disks only",
            .arrivalQuestion(
                ArrivalQuestion(
                    id: 7, order: ArrivalOrder(time: 1, number: 2), wait: 0, blockSize: 512, domains: [], prefixes: [])),
            "78 00000007 0000000000000001 0000000000000002 00000000 00000200 00 00000000"),
        GoldenMessage(
            "arrival answer",
            .arrivalAnswer(ArrivalAnswer(id: 7, hasDisks: true, isLate: true, has: [true, false, true])),
            "79 00000007 03 00000003 05"),
        GoldenMessage(
            "arrival read", .arrivalRead(ArrivalRead(id: 7, blockSize: 4096, domains: [], prefixes: [1, 2])),
            "7a 00000007 00001000 00 00000002 0000000000000001 0000000000000002"),
        GoldenMessage(
            "arrival bytes",
            .arrivalBytes(ArrivalBytes(id: 7, has: [false, true], payload: ByteBuffer(bytes: [1, 2]))),
            "7b 00000007 00000002 02 0102"),
    ]

    static let probe: [GoldenMessage] = [
        GoldenMessage("probe", .probe(ByteBuffer(bytes: [1, 2, 3])), "60 010203"),
        GoldenMessage("probe of nothing", .probe(ByteBuffer()), "60"),
        GoldenMessage(
            "probed", .probed(ProbeAnswer(clockMilliseconds: 0x0102, received: 3, release: "0.1")),
            "61 0000000000000102 0000000000000003 0003 302e31"),
    ]

    /// All that this release sends.
    static let sent: [GoldenMessage] =
        opening + offers + copying + answers + forwarding + postcopy + memory + probe + neighbours
}
