import NIOCore
import TestSupport
import Testing

@testable import Hashing
@testable import MigrationProtocol

@Suite("Messages about memory")
struct MemoryCodecTests {
    private static let bytes = ByteBuffer(bytes: [1, 2, 3])

    static let samples: [MemoryMessage] = [
        .offer(MemoryOffer(disks: [])),
        .offer(MemoryOffer(disks: [.migration(MigrationID()), .export("dïsk"), .export("")])),
        .offer(
            MemoryOffer(
                disks: (0..<MemoryOffer.maximumDisks).map { _ in
                    .export(String(repeating: "x", count: ExportName.maximumLength))
                })),
        .batch(MemoryBatch(tokenBytes: 1, literalBytes: 0, proof: .unknown, compressed: ByteBuffer())),
        .batch(
            MemoryBatch(
                tokenBytes: 7, literalBytes: MemoryBatch.maximumPacked - 7, proof: Fingerprint(high: 1, low: 2),
                compressed: bytes)),
        .batch(
            MemoryBatch(
                tokenBytes: MemoryBatch.maximumPacked, literalBytes: 0, proof: Fingerprint(high: 1, low: 2),
                compressed: bytes)),
        .repair(bytes), .repair(ByteBuffer()),
        .end(byteCount: .max, digest: DiskRoot(Array(0..<32))),
        .accepted(history: .max, readable: []), .accepted(history: 0, readable: [true]),
        .accepted(history: 5, readable: (0..<MemoryOffer.maximumDisks).map { $0 % 3 == 0 }),
        .delivered(batches: 0), .delivered(batches: .max), .again(batch: .max),
        .back(bytes), .back(ByteBuffer(repeating: 7, count: MemoryMessage.maximumBack)), .backEnd, .ended,
    ]

    private static func frame(_ message: MemoryMessage) -> ByteBuffer { Message.memory(message).encoded() }

    /// Whether bytes of any number may stand at the end.
    private static func hasOpenEnd(_ message: MemoryMessage) -> Bool {
        switch message {
        case .batch, .repair, .back: true
        case .offer, .end, .accepted, .delivered, .again, .backEnd, .ended: false
        }
    }

    @Test("A message is encoded -> it is decoded as it was", arguments: samples)
    func roundTrip(_ message: MemoryMessage) throws {
        #expect(try Message(frame: Self.frame(message)) == .memory(message))
    }

    @Test("A message is cut short anywhere -> it is malformed, unless its end has any length", arguments: samples)
    func truncated(_ message: MemoryMessage) {
        let whole = Self.frame(message)
        for length in 0..<min(whole.readableBytes, 300) {
            let decoded = try? Message(frame: whole.getSlice(at: 0, length: length)!)
            #expect(decoded == nil || Self.hasOpenEnd(message), "\(length) bytes")
        }
    }

    @Test("A byte too many -> the message is malformed, unless its end has any length", arguments: samples)
    func tooLong(_ message: MemoryMessage) {
        var frame = Self.frame(message)
        frame.writeInteger(UInt8(0))
        let decoded = try? Message(frame: frame)
        let isLongest = message == .back(ByteBuffer(repeating: 7, count: MemoryMessage.maximumBack))
        #expect((decoded != nil) == (Self.hasOpenEnd(message) && !isLongest))
    }

    @Test("Random bytes and random changes -> never crash the parser, and what is taken keeps the limits")
    func fuzz() {
        var random = Seeded.fresh()
        for _ in 0..<20_000 {
            var bytes = Array(Self.frame(Self.samples.randomElement(using: &random)!).readableBytesView.prefix(400))
            if random.chance(30) { bytes = [0x50] + random.bytes(.random(in: 0...60, using: &random)) }
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                bytes[.random(in: 0..<bytes.count, using: &random)] = UInt8(truncatingIfNeeded: random.next())
            }
            guard case .memory(let message)? = try? Message(frame: ByteBuffer(bytes: bytes)) else { continue }
            switch message {
            case .offer(let offer): #expect(offer.disks.count <= MemoryOffer.maximumDisks)
            case .batch(let batch):
                #expect(batch.tokenBytes > 0 && batch.tokenBytes + batch.literalBytes <= MemoryBatch.maximumPacked)
            case .accepted(_, let readable): #expect(readable.count <= MemoryOffer.maximumDisks)
            case .repair, .end, .delivered, .again, .back, .backEnd, .ended: break
            }
        }
    }

    @Test("The longest offer, and the longest batch that does not compress -> fit the frames of their phases")
    func frames() {
        // `openingFrame` and `ordinaryFrame` of PeerConnection. zstd adds 1/256, and some bytes for each 128 KiB.
        for message in Self.samples {
            if case .offer = message { #expect(Self.frame(message).readableBytes <= 8192) }
        }
        let most = MemoryBatch.maximumPacked
        #expect(most + most / 256 + 1024 + 64 < 2_097_152)
    }
}
