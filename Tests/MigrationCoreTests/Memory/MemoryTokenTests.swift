import TestSupport
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("Tokens of a memory stream")
struct MemoryTokenTests {
    private typealias T = TokenBytes

    /// Disk 0 has 10 pages, disk 1 can't be read, and disk 2 has all numbers; pages 5 to 8 are kept.
    private static let bounds = MemoryTokenReader.Bounds(blocks: [10, 0, .max], sent: 5..<9)

    /// Reads tokens beside `literals` bytes.
    private static func read(
        _ tokens: [UInt8], literals: Int = 0, bounds: MemoryTokenReader.Bounds = bounds
    ) throws -> [MemoryRun] {
        var reader = MemoryTokenReader()
        var runs: [MemoryRun] = []
        try tokens.withUnsafeBytes {
            try reader.read($0, literalBytes: literals, bounds: bounds, maximumBytes: MemoryBatch.maximumBytes) {
                runs.append($0)
            }
        }
        return runs
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let tokens: [UInt8]
        let literals: Int

        init(_ name: String, _ tokens: [UInt8], literals: Int = 0) {
            (self.name, self.tokens, self.literals) = (name, tokens, literals)
        }

        var testDescription: String { name }
    }

    private static let mostZeros = UInt64(MemoryBatch.maximumBytes / 9)
    private static let mostPages = UInt64(MemoryBatch.maximumBytes / 4104)

    static let cases: [Case] = [
        Case("nothing", []),
        Case("tokens that describe nothing", T.select(0) + T.noHeaders + T.headers),
        Case("a count of 0", T.bytes(0), literals: 0),
        Case("a number that is cut short", [0x80]),
        Case("a number of 65 bits", [UInt8](repeating: 0x80, count: 9) + [2]),
        Case("a number of 11 bytes", [UInt8](repeating: 0x80, count: 10) + [0]),
        Case("a distance that is missing", T.token(.disk, 1)),
        Case("a distance that is cut short", T.token(.disk, 1) + [0x81]),
        Case("a distance of 65 bits", T.token(.disk, 1) + [UInt8](repeating: 0xff, count: 9) + [0x7f]),
        Case("more bytes than literals", T.bytes(5), literals: 4),
        Case("fewer bytes than literals", T.bytes(3), literals: 4),
        Case("literals that nothing describes", T.zeros(1), literals: 1),
        Case("more pages than literals", T.pages(1), literals: 4095),
        Case("more bytes than a batch may have", T.bytes(1 << 20 + 1), literals: 1 << 20 + 1),
        Case("more zero pages than a batch may have", T.zeros(mostZeros + 1)),
        Case("more blocks than a batch may have", T.select(2) + T.disk(mostPages + 1, at: 0)),
        Case(
            "more of all than a batch may have", T.zeros(mostZeros / 2) + T.select(2) + T.disk(mostPages / 2 + 1, at: 0)
        ),
        Case("a count whose bytes overflow", T.zeros(1 << 60)),
        Case("the largest count", T.pages(.max >> 3)),
        Case("the largest count of blocks", T.select(2) + T.disk(.max >> 3, at: 0)),
        Case("a block behind the disk's last", T.disk(1, at: 10)),
        Case("a run beyond the disk's end", T.disk(2, at: 9)),
        Case("a block before the disk's first", T.disk(1, at: -1)),
        Case("a second run beyond the disk's end", T.disk(9, at: 0) + T.disk(2, at: 0)),
        Case("the farthest distance", T.disk(1, at: .min)),
        Case("a block of a disk that can't be read", T.select(1) + T.disk(1, at: 0)),
        Case("a run beyond the last number", T.select(2) + T.disk(2, at: -2)),
        Case("a disk that there is not", T.select(3)),
        Case("the last disk that there is not", T.select(.max >> 3 - 1)),
        Case("a page that is not kept any more", T.sent(1, at: 4)),
        Case("a page that was not sent yet", T.sent(1, at: 9)),
        Case("a run of kept pages beyond the last", T.sent(2, at: 8)),
        Case("kept pages without end", T.sent(.max >> 3, at: 5)),
        Case("a header before bytes", T.header(0x28, at: 0) + T.bytes(1), literals: 1),
        Case("a header before a header", T.header(0x28, at: 0) + T.header(0x28, at: 0) + T.zeros(1)),
        Case("a header before a layout", T.header(0x28, at: 0) + T.headers + T.zeros(1)),
        Case("a header at the end", T.header(0x28, at: 0)),
        Case("a header before a choice of a disk and no block", T.header(0x28, at: 0) + T.select(0) + T.zeros(1)),
        Case(
            "a header before two choices of a disk", T.header(0, at: 0) + T.select(0) + T.select(0) + T.disk(1, at: 0)),
        Case("a header before a disk that there is not", T.header(0, at: 0) + T.select(3) + T.disk(1, at: 0)),
        Case("a header although pages have none", T.noHeaders + T.header(0, at: 0) + T.zeros(1)),
        Case("flags of 13 bits", T.header(4096, at: 0) + T.zeros(1)),
        Case("the largest flags", T.header(.max >> 3 - 1, at: 0) + T.zeros(1)),
        Case("a layout of another kind", T.token(.layout, 3) + T.zeros(1)),
    ]

    @Test("A malformed batch -> is refused", arguments: cases)
    func malformed(_ malformed: Case) {
        let error = #expect(throws: MigrationError.self) {
            try Self.read(malformed.tokens, literals: malformed.literals)
        }
        guard case .unexpected? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("References at the ends of what is there, and the longest runs -> are taken")
    func limits() throws {
        #expect(try Self.read(T.disk(10, at: 0)) == [MemoryRun(.disk(0, first: 0), count: 10, header: 0x28)])
        #expect(try Self.read(T.disk(1, at: 9) + T.disk(1, at: -10)).count == 2)
        #expect(try Self.read(T.select(2) + T.disk(1, at: -2))[0].source == .disk(2, first: .max - 1))
        #expect(try Self.read(T.sent(4, at: 5)) == [MemoryRun(.sent(first: 5), count: 4, header: 0x28)])
        #expect(try Self.read(T.zeros(Self.mostZeros)) == [MemoryRun(.zeros, count: Int(Self.mostZeros), header: 0x22)])
        #expect(try Self.read(T.bytes(1 << 20), literals: 1 << 20) == [MemoryRun(.bytes, count: 1 << 20)])
        #expect(try Self.read(T.noHeaders + T.zeros(256)) == [MemoryRun(.zeros, count: 256)])
        #expect(try Self.read(T.header(4095, at: -1) + T.zeros(1))[0].header == .max)
        #expect(
            try Self.read(T.header(0x10, at: 3) + T.select(0) + T.disk(1, at: 0)) == [
                MemoryRun(.disk(0, first: 0), count: 1, header: 0x3010)
            ])
    }

    @Test("Tokens that stay in memory for each stream -> have the bytes of docs/protocol.md")
    func golden() {
        var writer = MemoryTokenWriter()
        writer.add(bytes: 200)
        writer.add(page: .zeros, header: 0x22)
        writer.add(page: .zeros, header: 0x1022)
        writer.add(page: .pages, header: 0x2020)
        writer.add(page: .disk(1, first: 1000), header: 0x3020)
        writer.add(page: .disk(1, first: 1001), header: 0x4020)
        writer.add(page: .sent(first: 3), header: 0x2_0020)
        writer.add(page: .zeros, header: nil)
        writer.add(page: .disk(1, first: 1000), header: nil)
        #expect(
            writer.finish() == [
                0xc0, 0x0c,  // 200 bytes
                0x11,  // 2 zero pages
                0x8d, 0x02, 0, 0x0a,  // flags 20, the next address; 1 page
                0x16, 0x13, 0xd0, 0x0f,  // disk 1; 2 blocks, 1000 blocks on
                0x8d, 0x02, 0x36, 0x0c, 0x06,  // 27 pages on; a page that was sent, 3 on
                0x17, 0x09,  // no headers; a zero page
                0x0b, 0x03,  // a block, 2 back
            ])
    }

    @Test("What is written -> is read, whatever it is")
    func roundTrip() throws {
        var random = Seeded.fresh()
        for _ in 0..<500 {
            var writer = MemoryTokenWriter()
            var reader = MemoryTokenReader()
            for _ in 0..<3 {
                let pieces = (0..<40).map { _ in Self.piece(&random) }
                for piece in pieces {
                    if piece.source == .bytes {
                        writer.add(bytes: piece.count)
                    } else {
                        writer.add(page: piece.source, header: piece.header)
                    }
                }
                var read: [MemoryRun] = []
                let bounds = MemoryTokenReader.Bounds(blocks: [.max, .max, .max], sent: 0..<UInt64.max)
                let literals = pieces.reduce(0) { $0 + $1.literalBytes * $1.count }
                try writer.finish().withUnsafeBytes {
                    try reader.read($0, literalBytes: literals, bounds: bounds, maximumBytes: 1 << 20) { run in
                        read += Self.pieces(of: run)
                    }
                }
                #expect(read == pieces.flatMap(Self.pieces))
            }
        }
    }

    /// Bytes or a page, often such as follow others.
    private static func piece(_ random: inout Seeded) -> MemoryRun {
        if random.chance(10) { return MemoryRun(.bytes, count: .random(in: 1...300, using: &random)) }
        let number: UInt64 = random.chance(90) ? .random(in: 0...20, using: &random) : random.next() >> 1
        let source: MemoryRun.Source =
            switch Int.random(in: 0..<4, using: &random) {
            case 0: .zeros
            case 1: .pages
            case 2: .disk(.random(in: 0..<3, using: &random), first: number)
            default: .sent(first: number)
            }
        let header: UInt64 =
            random.chance(80)
            ? .random(in: 0...5, using: &random) << 12 | [0x22, 0x28].randomElement(using: &random)! : random.next()
        return MemoryRun(source, count: 1, header: random.chance(80) ? header : nil)
    }

    /// The pieces of a run, each by itself.
    private static func pieces(of run: MemoryRun) -> [MemoryRun] {
        (0..<run.count).map { piece in
            let source: MemoryRun.Source =
                switch run.source {
                case .disk(let disk, let first): .disk(disk, first: first + UInt64(piece))
                case .sent(let first): .sent(first: first + UInt64(piece))
                case .bytes, .zeros, .pages: run.source
                }
            return MemoryRun(source, count: 1, header: run.header.map { $0 &+ UInt64(piece) << 12 })
        }
    }

    @Test("Random bytes for tokens -> are refused, or lie within the bounds")
    func garbage() throws {
        var random = Seeded.fresh()
        var taken = 0
        for _ in 0..<20_000 {
            let tokens = random.bytes(.random(in: 1...12, using: &random)).map { random.chance(60) ? $0 & 0x1f : $0 }
            let literals = random.chance(70) ? 0 : Int.random(in: 0...5, using: &random)
            guard let runs = try? Self.read(tokens, literals: literals) else { continue }
            taken += 1
            #expect(runs.reduce(0) { $0 + $1.byteCount } <= MemoryBatch.maximumBytes)
            #expect(runs.reduce(0) { $0 + $1.literalBytes * $1.count } == literals)
            for run in runs {
                switch run.source {
                case .disk(let disk, let first):
                    #expect(first + UInt64(run.count) <= Self.bounds.blocks[disk])
                case .sent(let first):
                    #expect(Self.bounds.sent.contains(first) && first + UInt64(run.count) <= 9)
                case .bytes, .zeros, .pages: break
                }
            }
        }
        #expect(taken > 100)
    }
}
