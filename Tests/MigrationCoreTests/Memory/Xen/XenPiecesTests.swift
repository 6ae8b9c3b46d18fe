import TestSupport
import Testing

@testable import MigrationCore

@Suite("Xen's streams in pieces")
struct XenPiecesTests {
    private static func stream(_ random: inout Seeded) -> XenStreamBuilder {
        let isParavirtual = random.chance(50)
        let records = Int.random(in: 0...6, using: &random)
        let types = (0..<records).map { _ in
            (0..<Int.random(in: 1...12, using: &random)).map { _ in
                (random.chance(80) ? XenStreamBuilder.withContent : XenStreamBuilder.without)
                    .randomElement(using: &random)!
            }
        }
        return .migration(
            Seeded(random.next()), isBigEndian: random.chance(30), isParavirtual: isParavirtual,
            version: random.chance(30) ? 2 : 3
        ) { stream in
            for types in types {
                stream.pages(types)
                if stream.random.chance(30) {
                    stream.record(0x8000_0005, stream.random.bytes(Int(stream.random.next() % 5000)))
                }
            }
        }
    }

    @Test("Any pieces -> the same parts")
    func anyPieces() { StreamPieces.expectSameParts { Self.stream(&$0).made } }

    @Test("Nothing more for a while at any place -> all is covered, and all pages that came whole are found")
    func waiting() { StreamPieces.expectWholePages { Self.stream(&$0).made } }

    @Test("A stream that is cut, changed or repeated anywhere -> all is covered")
    func damage() {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            var bytes = Self.stream(&random).bytes
            if random.chance(30) { bytes.removeLast(Int.random(in: 0...bytes.count, using: &random)) }
            for _ in 0..<Int.random(in: 0...5, using: &random) { Mutation.apply(&bytes, &random) }
            let sizes = StreamPieces.sizes(&random)
            _ = ParsedStream(bytes, sizes: { Int.random(in: sizes, using: &random) }, waits: { _ in random.chance(20) })
        }
    }

    @Test("Pages of Xen's stream on the guest's disks -> they cross as references, and every byte comes")
    func packed() throws {
        var random = Seeded.fresh()
        let disk = (0..<64).map { _ in random.bytes(StreamPart.pageBytes) }
        let stream = XenStreamBuilder.migration(Seeded(random.next())) { stream in
            for first in stride(from: 0, to: 64, by: 16) {
                stream.pages(Array(repeating: 0, count: 16), content: Array(disk[first..<first + 16].joined()))
            }
        }
        var pair = MemoryPair(GuestStreamParser(), disks: [disk], history: 16)
        var rest = stream.bytes[...]
        while !rest.isEmpty { rest = rest.dropFirst(try #require(try pair.carry(rest, isWaiting: true))) }
        #expect(pair.delivered == stream.bytes)
        #expect(pair.packer.tally.disk == 64)
        #expect(pair.packedBytes < stream.bytes.count - 63 * StreamPart.pageBytes)
    }
}
