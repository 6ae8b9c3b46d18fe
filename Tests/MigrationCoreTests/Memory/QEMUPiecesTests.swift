import TestSupport
import Testing

@testable import MigrationCore

@Suite("QEMU's streams in pieces")
struct QEMUPiecesTests {
    /// A stream with everything that the parser knows, in random order.
    private static func main(_ random: inout Seeded) -> QEMUStreamBuilder {
        var stream = QEMUStreamBuilder(Seeded(random.next()))
        stream.header()
        stream.configuration()
        let ignoresShared = random.chance(30)
        let hasPostcopy = random.chance(50)
        if ignoresShared { stream.capabilities("x-ignore-shared") }
        if random.chance(30) { stream.subsection("uuid", random.bytes(16)) }
        if hasPostcopy { stream.adviseOfPostcopy() }
        let size: [UInt64] = hasPostcopy && random.chance(50) ? [2 << 20] : []
        stream.beginRAM([
            .init(name: "pc.ram", length: 16 << 20, added: size + (ignoresShared ? [0] : [])),
            .init(name: "m1", length: 1 << 20, added: ignoresShared ? [0x1_0000_0000] : []),
        ])
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            for _ in 0..<Int.random(in: 0...12, using: &random) { addContent(&stream, &random) }
            stream.endOfSection()
            stream.footer()
            addElement(&stream, &random)
            stream.part()
        }
        stream.finish()
        return stream
    }

    private static func addContent(_ stream: inout QEMUStreamBuilder, _ random: inout Seeded) {
        let block = random.chance(20) ? "m1" : nil
        switch Int.random(in: 0..<12, using: &random) {
        case 0..<5: stream.page(block: block)
        case 5..<8: stream.zeroPage(block: block, fill: random.chance(10) ? 1 : 0)
        case 8: stream.difference(block: block, count: Int.random(in: 0...4096, using: &random))
        case 9: stream.compressedPage(block: block, count: Int.random(in: 0...4110, using: &random))
        case 10: stream.word(0, 0x80)
        default: stream.word(0, 0x200)
        }
    }

    private static func addElement(_ stream: inout QEMUStreamBuilder, _ random: inout Seeded) {
        switch Int.random(in: 0..<5, using: &random) {
        case 0: stream.package(random.bytes(Int.random(in: 0...9000, using: &random)))
        case 1: stream.command(2, random.bytes(4))
        case 2: stream.device("timer", 3, random.bytes(Int.random(in: 0...3000, using: &random)))
        case 3: stream.device("timer", 3, [UInt8](repeating: 0x7e, count: 700) + [0, 0, 0, 3, 9])
        default: break
        }
    }

    private static func multifd(_ random: inout Seeded) -> QEMUStreamBuilder {
        var stream = QEMUStreamBuilder(Seeded(random.next()))
        stream.openMultifd()
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            switch Int.random(in: 0..<4, using: &random) {
            case 0: stream.packet(pages: 0, flags: 1, room: 0)
            case 1: stream.devicePacket(random.bytes(Int.random(in: 0...5000, using: &random)))
            default: stream.packet(pages: Int.random(in: 0...16, using: &random))
            }
        }
        return stream
    }

    private static func stream(_ random: inout Seeded) -> QEMUStreamBuilder {
        random.chance(75) ? main(&random) : multifd(&random)
    }

    @Test("Any pieces -> the same parts")
    func anyPieces() { StreamPieces.expectSameParts { Self.stream(&$0).made } }

    @Test("Nothing more for a while at any place -> all is covered, and all pages that came whole are found")
    func waiting() { StreamPieces.expectWholePages { Self.stream(&$0).made } }

    @Test("Nothing more for a while behind the header of a page -> the page is bare")
    func headerAlone() {
        var stream = QEMUStreamBuilder.untilPages()
        stream.page(block: "pc.ram")
        let header = stream.bytes.count
        stream.page()
        stream.page()
        stream.finish()
        for wait in 0...8 {
            let parsed = ParsedStream(stream.bytes, sizes: { 1 }, waits: { $0 == header + wait })
            #expect(parsed.count(.barePage) == (wait == 0 ? 1 : 2), "after \(wait) bytes of the header")
            #expect(parsed.count(.page) == (wait == 0 ? 2 : 1))
        }
    }

    @Test("Nothing more for a while in the middle of a multifd packet -> the other pages are bare")
    func packetInTheMiddle() {
        var stream = QEMUStreamBuilder()
        stream.openMultifd()
        stream.packet(pages: 10)
        stream.packet(pages: 10)
        let place = 64 + 1344 + 3 * 4096 + 100
        let parsed = ParsedStream(stream.bytes, sizes: { place }, waits: { $0 == place })
        #expect(parsed.count(.barePage) == 19)
    }

    @Test("Nothing more after every byte -> all is covered, and the last pages are found")
    func always() {
        var random = Seeded.fresh()
        var stream = Self.main(&random)
        let before = stream.bytes.count
        var rest = QEMUStreamBuilder.untilPages(Seeded(random.next()))
        rest.page(block: "pc.ram")
        let first = rest.bytes.count
        rest.page()
        rest.zeroPage()
        rest.finish()
        var parsed = ParsedStream(rest.bytes, sizes: { 1 }, waits: { $0 <= first })
        #expect(parsed.count(.page) == 1)
        #expect(parsed.count(.zeroPage) == 1)
        stream.add([1])
        parsed = ParsedStream(stream.bytes, sizes: { 1 }, waits: { _ in true })
        #expect(parsed.parts == [StreamPart(.bytes, before + 1)])
        #expect(parsed.problem == nil)
    }

    @Test("Garbage behind any beginning -> all is covered")
    func garbage() {
        var random = Seeded.fresh()
        let beginnings: [[UInt8]] = [
            [], QEMUStreamBuilder.untilPages().bytes, Self.multifd(&random).bytes,
            [8, 0, 10, 0, 2, 1, 65, 2, 0, 0, 0, 2],
            QEMUStreamBuilder.number(UInt64(0x1008)), Array("QEVM".utf8) + [0, 0, 0, 3],
        ]
        for _ in 0..<300 {
            let count = Int.random(in: 0...20_000, using: &random)
            let stream = beginnings.randomElement(using: &random)! + random.bytes(count)
            let sizes = StreamPieces.sizes(&random)
            _ = ParsedStream(
                stream, sizes: { Int.random(in: sizes, using: &random) }, waits: { _ in random.chance(20) })
        }
    }

    @Test("A stream with changed, missing and repeated bytes -> all is covered")
    func mutations() {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            var bytes = Self.stream(&random).bytes
            for _ in 0..<Int.random(in: 1...5, using: &random) { Mutation.apply(&bytes, &random) }
            let sizes = StreamPieces.sizes(&random)
            _ = ParsedStream(bytes, sizes: { Int.random(in: sizes, using: &random) }, waits: { _ in random.chance(20) })
        }
    }
}
