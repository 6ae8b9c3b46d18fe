import Index
import NIOCore

@testable import Hashing
@testable import Migration
@testable import MigrationProtocol

extension GoldenMessages {
    private static let id = "0123456789abcdeffedcba9876543210"
    private static let root = GoldenValues.rootHex

    private static func offer(_ details: OfferDetails?) -> Message {
        .offer(
            Offer(
                migration: GoldenValues.first, abandoned: [], export: "d", size: 1, blockSize: 512, details: details))
    }

    static let offers: [GoldenMessage] = [
        GoldenMessage(
            "offer, with earlier attempts and domains",
            .offer(
                Offer(
                    migration: GoldenValues.first, abandoned: [GoldenValues.second, GoldenValues.first],
                    export: "disk", size: 1 << 40, blockSize: 4096, domains: ["shop", "x"])),
            "10 \(id) 02 0000000000000001 0000000000000002 \(id) 0000010000000000 00001000 0004 6469736b"
                + "02 0004 73686f70 0001 78"),
        GoldenMessage(
            "offer, without details", offer(nil), "10 \(id) 00 0000000000000001 00000200 0001 64 00"),
        GoldenMessage(
            "offer, details of a writable disk that needs no room", offer(OfferDetails()),
            "10 \(id) 00 0000000000000001 00000200 0001 64 00 00 0000000000000000 0000000000000000"),
        GoldenMessage(
            "offer, details of a read-only disk",
            offer(OfferDetails(isReadOnly: true, dataBytes: 0x0102_0304_0506_0708, dataBesides: 9)),
            "10 \(id) 00 0000000000000001 00000200 0001 64 00 03 0102030405060708 0000000000000009"),
        GoldenMessage(
            "offer, details of a disk with origins",
            offer(OfferDetails(dataBesides: 9, origins: [0x7e00, 1 << 40])),
            "10 \(id) 00 0000000000000001 00000200 0001 64 00 00 0000000000000000 0000000000000009"
                + "02 0000000000007e00 0000010000000000"),
    ]

    static let copying: [GoldenMessage] = [
        GoldenMessage(
            "manifest",
            .manifest(
                ManifestSegment(
                    first: 7, entries: [.zero, .prefix(0x1122_3344_5566_7788), .later, .zero, .prefix(1), .later])),
            "11 0000000000000007 00000006 24 09 1122334455667788 0000000000000001"),
        GoldenMessage("zeros", .zeros(BlockRange(first: 3, count: 1 << 50)), "12 0000000000000003 0004000000000000"),
        GoldenMessage(
            "data",
            .data(
                DataSegment(
                    runs: GoldenValues.runs((9, 2), (1 << 33, 1)), compressed: ByteBuffer(bytes: [1, 2, 3]))),
            "13 00000002 0000000000000009 00000002 0000000200000000 00000001 010203"),
        GoldenMessage(
            "data, a later piece that names no blocks",
            .data(DataSegment(runs: [], compressed: ByteBuffer(bytes: [0xff]))), "13 00000000 ff"),
        GoldenMessage("end of a round", .roundEnd(0x0102_0304), "14 01020304"),
        GoldenMessage(
            "blocks of a dirty bitmap",
            .bitmap(
                BitmapPart(
                    name: "day", map: .current,
                    runs: [BlockRange(first: 3, count: 2), BlockRange(first: 1 << 31, count: 1)])),
            "1a 0003 646179 00 00000002 0000000000000003 0000000000000002 0000000080000000 0000000000000001"),
        GoldenMessage(
            "a dirty bitmap whose last checkpoint shows nothing",
            .bitmap(BitmapPart(name: "day", map: .shown, runs: [])), "1a 0003 646179 01 00000000"),
        GoldenMessage("prepare", .prepare(GoldenValues.root), "15 \(root)"),
        GoldenMessage("commit", .commit, "16"),
        GoldenMessage("cancel", .cancel(reason: "later"), "17 0005 6c61746572"),
        GoldenMessage("end of the manifest", .manifestEnd, "18"),
        GoldenMessage(
            "summary",
            .summary(
                ManifestSummary(
                    first: 64, count: 33, groups: [Fingerprint(high: 1, low: 2), Fingerprint(high: .max, low: 3)])),
            "19 0000000000000040 00000021 0000000000000001 0000000000000002 ffffffffffffffff 0000000000000003"),
        GoldenMessage(
            "question for a prefix", .prefixQuestion(PrefixQuestion(prefixes: [1, .max], isFinal: false)),
            "1b 00 00000002 0000000000000001 ffffffffffffffff"),
        GoldenMessage(
            "final question for a prefix", .prefixQuestion(PrefixQuestion(prefixes: [2], isFinal: true)),
            "1b 01 00000001 0000000000000002"),
    ]

    static let answers: [GoldenMessage] = [
        GoldenMessage("accepted", .accepted, "20"),
        GoldenMessage(
            "wants",
            .wants(
                Wants(
                    first: 8, wanted: [true, false, false, true, false, false, false, false, true], present: 1,
                    repeated: 2, neighbour: 3, check: Fingerprint(high: 4, low: 5))),
            "21 0000000000000008 00000009 0000000000000001 0000000000000002 0000000000000003 09 01"
                + "0000000000000004 0000000000000005"),
        GoldenMessage("a round is done", .roundDone(3), "22 00000003"),
        GoldenMessage("prepared", .prepared(GoldenValues.root), "23 \(root)"),
        GoldenMessage("active", .active, "24"),
        GoldenMessage("failed", .failed(reason: "full"), "25 0004 66756c6c"),
        GoldenMessage("the manifest is done", .manifestDone, "26"),
        GoldenMessage("accepted on a base", .acceptedOnBase, "27"),
        GoldenMessage(
            "differences", .differences(ManifestDifferences(first: 64, differs: [false, true], present: 131_072)),
            "28 0000000000000040 00000002 0000000000020000 02"),
        GoldenMessage(
            "answer to a question for a prefix",
            .prefixAnswer(PrefixAnswer(has: [true, false, true], digest: Fingerprint(high: 4, low: 5))),
            "29 00000003 05 0000000000000004 0000000000000005"),
    ]
}
