import Hashing
import TestSupport
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("A memory stream, packed and unpacked")
struct MemoryStreamTests {
    private static func disks(_ random: inout Seeded) -> [[MadeStream.Page]] {
        [12, 30].map { count in (0..<count).map { _ in random.bytes(StreamPart.pageBytes) } }
    }

    @Test("Any stream, whatever its parser says -> the same bytes, digests and tally at both sides")
    func randomStreams() throws {
        var random = Seeded.fresh()
        var sum = MemoryTally()
        for _ in 0..<150 {
            let disks = Self.disks(&random)
            let stream = MadeStream.random(disks: disks, parts: .random(in: 1...60, using: &random), &random)
            var pair = MemoryPair(stream, disks: disks, history: .random(in: 0...20, using: &random))
            holds(try pair.carry(stream, &random))
            #expect(pair.packer.digest == pair.unpacker.digest)
            #expect(pair.packer.tally == pair.unpacker.tally)
            #expect(pair.packer.tally.stream == UInt64(stream.bytes.count))
            #expect(pair.unpacker.byteCount == UInt64(stream.bytes.count))
            #expect(pair.repairs == 0)
            sum = sum + pair.packer.tally
        }
        #expect(sum.disk > 100 && sum.sent > 20 && sum.zeros > 100 && sum.pages > 100 && sum.bytes > 100)
    }

    @Test("Blocks change at the destination -> their batches are repaired, and the stream goes on")
    func changedBlocks() throws {
        var random = Seeded.fresh()
        var repairs = 0
        for _ in 0..<50 {
            let disks = Self.disks(&random)
            let stream = MadeStream.random(disks: disks, parts: 40, &random)
            var pair = MemoryPair(stream, disks: disks, history: 20)
            for _ in 0..<10 {
                pair.disks[1][.random(in: 0..<30, using: &random)][.random(in: 0..<4096, using: &random)] ^= 1
            }
            holds(try pair.carry(stream, &random))
            #expect(pair.packer.digest == pair.unpacker.digest && pair.packer.tally == pair.unpacker.tally)
            repairs += pair.repairs
        }
        #expect(repairs > 10)
    }

    @Test("A page that is another one at the destination -> no; the right bytes -> yes; another wrong byte -> no")
    func accept() throws {
        var random = Seeded.fresh()
        let disks = Self.disks(&random)
        var stream = MadeStream()
        stream.add(.bytes, [1, 2, 3])
        stream.add(page: disks[0][3])
        stream.addZeroPage()
        stream.add(.barePage, MadeStream.emptyPage)
        stream.add(.barePage, random.bytes(StreamPart.pageBytes))
        var pair = MemoryPair(stream, disks: disks, history: 4)
        pair.disks[0][3][4095] ^= 0x80
        let packed = pair.pack(stream.bytes[...], isWaiting: true)
        #expect(packed.consumed == stream.bytes.count)
        var batch = try pair.unpack(packed)
        #expect(!pair.unpacker.accept(batch))
        for place in stream.bytes.indices {
            batch.bytes = stream.bytes
            batch.bytes[place] ^= 1
            if place % 97 == 0 || place < 12 || place > 4106 && place < 4120 { #expect(!pair.unpacker.accept(batch)) }
        }
        for bytes in [[], stream.bytes.dropLast(), stream.bytes + [0]] {
            batch.bytes = bytes
            #expect(!pair.unpacker.accept(batch))
        }
        #expect(pair.unpacker.byteCount == 0)
        batch.bytes = stream.bytes
        #expect(pair.unpacker.accept(batch))
        #expect(pair.unpacker.digest == pair.packer.digest)
    }

    @Test(
        "A parser that lies -> every byte crosses as it is",
        arguments: [
            [StreamPart(.zeroPage, 9)], [StreamPart(.page, 9)], [StreamPart(.barePage, 9)],
            [StreamPart(.zeroPage, 4), StreamPart(.page, 5)], [StreamPart(.bytes, 3)], [StreamPart(.bytes, 10)], [],
            [StreamPart(.bytes, 0), StreamPart(.bytes, 9)], [StreamPart(.bytes, -1), StreamPart(.bytes, 10)],
            [StreamPart(.bytes, .max), StreamPart(.bytes, .max)],
        ])
    func lies(_ parts: [StreamPart]) throws {
        struct Liar: StreamParser {
            let parts: [StreamPart]
            var problem: String? { nil }
            mutating func parse(
                _ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]
            ) -> Int {
                parts += self.parts
                return bytes.count
            }
        }
        var pair = MemoryPair(Liar(parts: parts), disks: [], history: 4)
        let bytes: [UInt8] = [0, 0, 0, 0, 0, 0, 0x10, 0x22, 7]
        holds(try pair.carry(bytes[...], isWaiting: true) == 9)
        #expect(pair.delivered == bytes && pair.repairs == 0)
        #expect(pair.packer.tally.bytes == 9 && pair.packer.tally == pair.unpacker.tally)
    }

    @Test("Headers that cost more than the stream -> it crosses as bytes, and pages are found again behind it")
    func awkwardHeaders() throws {
        var random = Seeded.fresh()
        let disks = Self.disks(&random)
        var stream = MadeStream()
        for _ in 0..<1000 {
            stream.jump(to: random.next())
            stream.addZeroPage(flags: .random(in: 0..<4096, using: &random))
        }
        let awkward = stream.bytes.count
        stream.jump(to: 0)
        for page in disks[0] { stream.add(page: page) }
        var pair = MemoryPair(stream, disks: disks, history: 4)
        holds(try pair.carry(stream.bytes[..<awkward], isWaiting: false) == awkward)
        #expect(pair.packedBytes <= awkward + 16)
        #expect(pair.packer.tally.bytes == UInt64(awkward) && pair.packer.tally.zeros == 0)
        holds(try pair.carry(stream.bytes[awkward...], isWaiting: true) == stream.bytes.count - awkward)
        #expect(pair.packedBytes < awkward + 60)
        #expect(pair.packer.tally.disk == 12 && pair.packer.tally == pair.unpacker.tally)
        #expect(pair.delivered == stream.bytes && pair.repairs == 0)
    }

    @Test("The longest batches -> each is at most some bytes longer than the stream, and both sides take it")
    func longest() throws {
        var random = Seeded.fresh()
        for kind in [StreamPart.Kind.bytes, .page, .zeroPage, .barePage] {
            var stream = MadeStream()
            while stream.bytes.count < MemoryBatch.maximumBytes {
                switch kind {
                case .bytes: stream.add(.bytes, random.bytes(1 << 18))
                case .page: stream.add(page: random.bytes(StreamPart.pageBytes))
                case .zeroPage: stream.addZeroPage()
                case .barePage: stream.add(.barePage, random.bytes(StreamPart.pageBytes))
                }
            }
            var pair = MemoryPair(stream, disks: [], history: 300)
            let all = stream.bytes[..<MemoryBatch.maximumBytes]
            holds(try pair.carry(all, isWaiting: true) == all.count)
            #expect(pair.delivered == Array(all))
            #expect(pair.packedBytes <= all.count + 16 && pair.packedBytes <= MemoryBatch.maximumPacked)
        }
    }

    @Test("Too few bytes for a part -> no batch; nothing more there -> they go as bytes")
    func tooFew() throws {
        var stream = MadeStream()
        stream.add(page: [UInt8](repeating: 5, count: StreamPart.pageBytes))
        var pair = MemoryPair(stream, disks: [], history: 4)
        holds(try pair.carry(stream.bytes[..<4000], isWaiting: false) == 0)
        holds(try pair.carry(stream.bytes[..<4000], isWaiting: true) == 4000)
        holds(try pair.carry(stream.bytes[4000...], isWaiting: false) == 104)
        #expect(pair.delivered == stream.bytes && pair.packer.tally.bytes == 4104)
        #expect(pair.packer.digest == pair.unpacker.digest)
    }

    @Test("A batch with any other bit -> is refused, or is not accepted")
    func damagedBatches() throws {
        var random = Seeded.fresh()
        let disks = Self.disks(&random)
        for _ in 0..<300 {
            let stream = MadeStream.random(disks: disks, parts: 3, &random)
            var pair = MemoryPair(stream, disks: disks, history: 4)
            var packed = pair.pack(stream.bytes[...], isWaiting: true)
            // Most changes meet the tokens.
            let most = random.chance(80) ? packed.tokenBytes : packed.bytes.count
            packed.bytes[.random(in: 0..<most, using: &random)] ^= 1 << Int.random(in: 0..<8, using: &random)
            guard let batch = try? pair.unpack(packed) else { continue }
            #expect(!pair.unpacker.accept(batch))
        }
    }
}
