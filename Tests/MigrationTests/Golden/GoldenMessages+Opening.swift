@testable import Migration
@testable import MigrationProtocol

/// The messages that open a connection; their fields may only be added to, at the end.
enum GoldenMessages {
    private static let magic = "6e656172626c6b32"
    private static let id = "0123456789abcdeffedcba9876543210"
    private static let version3 = ProtocolSupport(versions: 3...3, capabilities: .init(rawValue: 0x1ff))

    private static func hello(_ purpose: Hello.Purpose) -> Message {
        .hello(
            Hello(
                support: version3, purpose: purpose, migration: GoldenValues.first, isCommitted: true, export: "disk"))
    }

    static let opening: [GoldenMessage] = [
        GoldenMessage(
            "hello, a range of versions and an export beyond ASCII",
            .hello(
                Hello(
                    support: ProtocolSupport(versions: 2...5, capabilities: .init(rawValue: 0x8000_0000_0000_0105)),
                    purpose: .forward, migration: GoldenValues.first, isCommitted: false, export: "dïsk")),
            "01 \(magic) 0002 0005 8000000000000105 02 \(id) 00 0005 64c3af736b"),
        GoldenMessage(
            "hello, without an export",
            .hello(Hello(support: version3, purpose: .migrate, migration: GoldenValues.second)),
            "01 \(magic) 0003 0003 00000000000001ff 01 0000000000000001 0000000000000002 00 0000"),
        GoldenMessage(
            "hello to migrate", hello(.migrate), "01 \(magic) 0003 0003 00000000000001ff 01 \(id) 01 0004 6469736b"),
        GoldenMessage(
            "hello to forward", hello(.forward), "01 \(magic) 0003 0003 00000000000001ff 02 \(id) 01 0004 6469736b"),
        GoldenMessage(
            "hello of the demand channel", hello(.demand),
            "01 \(magic) 0003 0003 00000000000001ff 03 \(id) 01 0004 6469736b"),
        GoldenMessage(
            "hello of the bulk channel", hello(.bulk),
            "01 \(magic) 0003 0003 00000000000001ff 04 \(id) 01 0004 6469736b"),
        GoldenMessage(
            "hello to estimate", hello(.estimate), "01 \(magic) 0003 0003 00000000000001ff 05 \(id) 01 0004 6469736b"),
        GoldenMessage(
            "welcome",
            .welcome(
                Welcome(
                    support: ProtocolSupport(versions: 3...4, capabilities: .init(rawValue: 0x1ff)), blockSize: 4096,
                    boot: 0x0102_0304_0506_0708)),
            "02 0003 0004 00000000000001ff 00001000 0102030405060708"),
        GoldenMessage("refused", .refused(reason: "no é"), "03 0005 6e6f20c3a9"),
        GoldenMessage("refused for lack of room", .refusedForRoom(reason: "no"), "03 0002 6e6f 01"),
    ]

    /// Forms that this release does not send and takes.
    static let taken: [GoldenMessage] = [
        GoldenMessage(
            "memory accepted with unused bits", .memory(.accepted(history: 1, readable: [false, true])),
            "50 10 00000001 02 fe"),
        GoldenMessage("memory back of nothing", .memory(.back(.init())), "50 13"),
        GoldenMessage(
            "hello with more at its end", hello(.bulk),
            "01 \(magic) 0003 0003 00000000000001ff 04 \(id) 01 0004 6469736b ffee"),
        GoldenMessage(
            "hello with a purpose of a later release", hello(.unknown),
            "01 \(magic) 0003 0003 00000000000001ff 4d \(id) 01 0004 6469736b"),
        GoldenMessage(
            "hello with a commit flag of another value than 1",
            .hello(
                Hello(
                    support: version3, purpose: .migrate, migration: GoldenValues.first, isCommitted: false, export: "")
            ),
            "01 \(magic) 0003 0003 00000000000001ff 01 \(id) 02 0000"),
        GoldenMessage(
            "welcome with more at its end", .welcome(Welcome(support: version3, blockSize: 512, boot: 0)),
            "02 0003 0003 00000000000001ff 00000200 0000000000000000 01"),
        GoldenMessage("refused with more at its end", .refused(reason: "no"), "03 0002 6e6f 00"),
        GoldenMessage(
            "offer with details whose upper flags are unknown",
            .offer(
                Offer(
                    migration: GoldenValues.first, abandoned: [], export: "d", size: 1, blockSize: 512,
                    details: OfferDetails(isReadOnly: true, dataBytes: nil, dataBesides: 5))),
            "10 \(id) 00 0000000000000001 00000200 0001 64 00 fd 0000000000000007 0000000000000005"),
        GoldenMessage(
            "request with unknown flags",
            .request(
                ForwardRequest(
                    id: 1, kind: .flush, isForced: true, mayPunchHole: false, offset: 0, length: 0, payload: .init())),
            "30 0000000000000001 02 fd 0000000000000000 0000000000000000"),
        GoldenMessage(
            "one run in the form for several", .postcopy(.describe(GoldenValues.runs((3, 2)))),
            "40 16 00000001 0000000000000003 0000000000000002"),
    ]
}
