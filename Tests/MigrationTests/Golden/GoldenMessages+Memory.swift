import NIOCore

@testable import Hashing
@testable import MigrationProtocol

extension GoldenMessages {
    private static let id = "0123456789abcdeffedcba9876543210"
    private static let proof = Fingerprint(high: 0x0102_0304_0506_0708, low: 0x090a_0b0c_0d0e_0f10)

    private static let before = ProtocolSupport(versions: 3...3, capabilities: .init(rawValue: 0x3ff))
    private static let beforeProbes = ProtocolSupport(versions: 3...3, capabilities: .init(rawValue: 0x7ff))

    static let memory: [GoldenMessage] = [
        GoldenMessage(
            "hello of a guest's memory",
            .hello(Hello(support: before, purpose: .memory, migration: GoldenValues.first, export: "guest")),
            "01 6e656172626c6b32 0003 0003 00000000000003ff 06 \(id) 00 0005 6775657374"),
        GoldenMessage(
            "welcome of a release that takes memory", .welcome(Welcome(support: before, blockSize: 0)),
            "02 0003 0003 00000000000003ff 00000000 0000000000000000"),
        GoldenMessage(
            "welcome of a release that hears of free blocks", .welcome(Welcome(support: beforeProbes, blockSize: 0)),
            "02 0003 0003 00000000000007ff 00000000 0000000000000000"),
        GoldenMessage(
            "welcome of a release that can be measured",
            .welcome(
                Welcome(support: ProtocolSupport(versions: 3...3, capabilities: .init(rawValue: 0xfff)), blockSize: 0)),
            "02 0003 0003 0000000000000fff 00000000 0000000000000000"),
        GoldenMessage(
            "welcome of a release that knows grids",
            .welcome(
                Welcome(support: ProtocolSupport(versions: 3...3, capabilities: .init(rawValue: 0x1fff)), blockSize: 0)),
            "02 0003 0003 0000000000001fff 00000000 0000000000000000"),
        GoldenMessage(
            "welcome of a release that lends neighbours",
            .welcome(
                Welcome(support: ProtocolSupport(versions: 3...3, capabilities: .init(rawValue: 0xffff)), blockSize: 0)),
            "02 0003 0003 000000000000ffff 00000000 0000000000000000"),
        GoldenMessage(
            "welcome of a release that tells what arrives", .welcome(Welcome(blockSize: 0)),
            "02 0003 0003 000000000001ffff 00000000 0000000000000000"),
        GoldenMessage(
            "offer of memory",
            .memory(.offer(MemoryOffer(disks: [.migration(GoldenValues.first), .export("dïsk")]))),
            "50 01 02 00 \(id) 01 0005 64c3af736b"),
        GoldenMessage("offer of memory without disks", .memory(.offer(MemoryOffer(disks: []))), "50 01 00"),
        GoldenMessage(
            "batch of memory",
            .memory(
                .batch(
                    MemoryBatch(
                        tokenBytes: 3, literalBytes: 4096, proof: proof, compressed: ByteBuffer(bytes: [7, 8])))),
            "50 02 00000003 00001000 0102030405060708090a0b0c0d0e0f10 0708"),
        GoldenMessage(
            "the longest batch of memory",
            .memory(
                .batch(
                    MemoryBatch(
                        tokenBytes: 65536, literalBytes: 1 << 20, proof: .zero, compressed: ByteBuffer(bytes: [7])))),
            "50 02 00010000 00100000 00000000000000000000000000000000 07"),
        GoldenMessage("repair of memory", .memory(.repair(ByteBuffer(bytes: [7, 8]))), "50 03 0708"),
        GoldenMessage(
            "end of memory", .memory(.end(byteCount: 1 << 40, digest: GoldenValues.root)),
            "50 04 0000010000000000 \(GoldenValues.rootHex)"),
        GoldenMessage(
            "memory accepted", .memory(.accepted(history: 65536, readable: [true, false, true])),
            "50 10 00010000 03 05"),
        GoldenMessage(
            "memory accepted without disks", .memory(.accepted(history: 0, readable: [])), "50 10 00000000 00"),
        GoldenMessage("memory delivered", .memory(.delivered(batches: 1 << 40)), "50 11 0000010000000000"),
        GoldenMessage("memory again", .memory(.again(batch: 5)), "50 12 0000000000000005"),
        GoldenMessage("memory back", .memory(.back(ByteBuffer(bytes: [7, 8]))), "50 13 0708"),
        GoldenMessage("end of memory back", .memory(.backEnd), "50 14"),
        GoldenMessage("memory ended", .memory(.ended), "50 15"),
    ]
}
