import TestSupport
import Testing

@testable import MigrationCore

@Suite("RAM in QEMU's streams")
struct QEMURAMTests {
    private func check(
        _ stream: QEMUStreamBuilder, problem: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let parsed = ParsedStream(stream.bytes, sourceLocation: sourceLocation)
        #expect(parsed.parts == stream.expected, sourceLocation: sourceLocation)
        #expect(parsed.problem == problem, sourceLocation: sourceLocation)
    }

    @Test("Pages in several blocks -> a page is bare behind its block's name, and a zero page is bytes")
    func blocks() {
        var stream = QEMUStreamBuilder.untilPages(
            Seeded(3),
            [.init(name: "pc.ram", length: 1 << 20), .init(name: String(repeating: "v", count: 255), length: 4096)])
        stream.page(block: "pc.ram")
        stream.page()
        stream.zeroPage()
        stream.zeroPage(block: String(repeating: "v", count: 255))
        stream.page()
        stream.page(block: "pc.ram")
        stream.finish()
        check(stream)
        #expect(stream.expected.count { $0.kind == .barePage } == 2)
        #expect(stream.expected.count { $0.kind == .zeroPage } == 1)
    }

    @Test("A page with the fill byte 1 -> bytes")
    func otherFill() {
        var stream = QEMUStreamBuilder.untilPages()
        stream.zeroPage(fill: 1)
        stream.zeroPage()
        stream.finish()
        check(stream)
    }

    @Test("Differences, compressed pages, hooks and flushes -> bytes, with pages between them")
    func otherContent() {
        var stream = QEMUStreamBuilder.untilPages()
        for block in ["pc.ram", nil] {
            stream.difference(block: block)
            stream.page()
            stream.difference(block: block, count: 4096)
            stream.compressedPage(block: block)
            stream.zeroPage()
            stream.compressedPage(block: block, count: 0)
            stream.word(0, 0x80)
            stream.page()
            stream.word(0, 0x200)
        }
        stream.finish()
        check(stream)
    }

    @Test("A page that looks like a header, a footer or the end -> a page")
    func pageContent() {
        var stream = QEMUStreamBuilder.untilPages()
        for word in [0x10, 0x28, 0x22, 0x7e00_0000_0200_0000] as [UInt64] {
            stream.page(content: (0..<512).flatMap { _ in QEMUStreamBuilder.number(word) })
        }
        stream.finish()
        check(stream)
    }

    @Test(
        "Pages of 8 to 64 KiB -> bare pages of 4 KiB; pages of 1 or 2 KiB -> bytes",
        arguments: [10, 11, 12, 13, 14, 16])
    func pageSizes(bits: Int) {
        var stream = QEMUStreamBuilder()
        stream.header()
        stream.configuration()
        stream.subsection("target-page-bits", QEMUStreamBuilder.number(UInt32(bits)))
        stream.beginRAM()
        stream.page(block: "pc.ram", pageBytes: 1 << bits)
        stream.page(pageBytes: 1 << bits)
        stream.zeroPage()
        stream.page(pageBytes: 1 << bits)
        stream.finish()
        check(stream)
    }

    @Test("Post-copy says the page size -> it is used")
    func advisedPageSize() {
        var stream = QEMUStreamBuilder()
        stream.header()
        stream.configuration()
        stream.adviseOfPostcopy(pageBytes: 16384)
        stream.beginRAM([.init(name: "ram", length: 1 << 20)])
        stream.page(block: "ram", pageBytes: 16384)
        stream.page(pageBytes: 16384)
        stream.finish()
        check(stream)
    }

    /// The words behind the lengths of two blocks, with the capabilities postcopy-ram and x-ignore-shared.
    private static let added: [(hasPostcopy: Bool, ignoresShared: Bool, first: [UInt64], second: [UInt64])] = [
        (true, false, [], []), (true, false, [2 << 20], []), (true, false, [], [1 << 30]),
        (true, false, [2 << 20], [2 << 20]),
        (false, true, [0], [0xfffc_0000]), (false, true, [1 << 20], [0x1_0000_0000]), (false, true, [3], [5]),
        (true, true, [0], [0]), (true, true, [1 << 20], [0x1_0000_0000]), (true, true, [2 << 20, 0], [0]),
        (true, true, [0], [2 << 20, 0x1_0000_0000]), (true, true, [2 << 20, 1 << 20], [2 << 20, 0]),
        (true, true, [2 << 20, 0xc_0000], [0xfffc_0000]),
    ]

    @Test("Lists of blocks with page sizes and addresses -> the pages behind them", arguments: added.indices)
    func lists(index: Int) {
        let (hasPostcopy, ignoresShared, first, second) = Self.added[index]
        var stream = QEMUStreamBuilder()
        stream.header()
        stream.configuration()
        if ignoresShared { stream.capabilities("x-ignore-shared") }
        if hasPostcopy { stream.adviseOfPostcopy() }
        stream.beginRAM([
            .init(name: "pc.ram", length: 1 << 30, added: first), .init(name: "m1", length: 2 << 20, added: second),
        ])
        stream.page(block: "m1")
        stream.page()
        stream.finish()
        check(stream)
    }

    @Test("A list of no blocks, or with an empty block -> the pages behind it")
    func emptyBlocks() {
        var stream = QEMUStreamBuilder.untilPages(Seeded(4), [])
        stream.page()
        stream.word(4096, 4)
        for length in [0, 4096] as [UInt64] {
            stream.add(QEMUStreamBuilder.name("b") + QEMUStreamBuilder.number(length))
        }
        stream.page()
        stream.finish()
        check(stream)
    }

    /// A stream that goes wrong in the second RAM section.
    private func check(problem: String, _ add: (inout QEMUStreamBuilder) -> Void) {
        var stream = QEMUStreamBuilder.untilPages()
        stream.page()
        var expected = stream
        add(&stream)
        stream.page()
        stream.finish()
        expected.add(Array(stream.bytes[expected.bytes.count...]))
        let parsed = ParsedStream(stream.bytes)
        #expect(parsed.parts == expected.expected)
        #expect(parsed.problem == problem)
    }

    @Test("Unknown flags, impossible lengths or a malformed list -> a problem, and bytes")
    func problems() {
        check(problem: "QEMU sends memory with unknown flags 0x0") { $0.word(0x1000, 0) }
        check(problem: "QEMU sends memory with unknown flags 0x400") { $0.word(0x1000, 0x400) }
        check(problem: "QEMU sends memory with unknown flags 0xa") { $0.word(0x1000, 0xa) }
        check(problem: "QEMU sends memory with unknown flags 0x30") { $0.word(0, 0x30) }
        check(problem: "QEMU sends a compressed page of 4096 bytes") { $0.difference(count: 4096, encoding: 2) }
        check(problem: "QEMU sends a compressed page of 4097 bytes") { $0.difference(count: 4097) }
        check(problem: "QEMU sends a compressed page of 4294967295 bytes") { $0.compressedPage(count: 0xffff_ffff) }
        check(problem: "QEMU sends a compressed page of 4114 bytes") { $0.compressedPage(count: 4114) }
    }

    @Test("A list whose lengths do not add up, or with a block without a name -> a problem, and bytes")
    func malformedLists() {
        for (name, length) in [("b", 8192), ("", 4096), ("b", UInt64.max)] as [(String, UInt64)] {
            var stream = QEMUStreamBuilder.untilPages()
            stream.page()
            stream.word(4096, 4)
            stream.add(QEMUStreamBuilder.name(name) + QEMUStreamBuilder.number(length))
            stream.add([UInt8](repeating: 0, count: 5000))
            check(stream, problem: "QEMU's list of memory blocks is malformed")
        }
    }

    @Test("A post-copy preempt channel -> its pages", arguments: [0, 1, 2])
    func preempt(first: Int) {
        var stream = QEMUStreamBuilder()
        if first == 0 { stream.page(block: "pc.ram") }
        if first == 1 { stream.zeroPage(block: "pc.ram") }
        if first < 2 {
            for _ in 0..<5 { stream.page() }
            stream.zeroPage()
            stream.page(block: "m1")
        }
        stream.endOfSection()
        check(stream)
        #expect(ParsedStream(stream.bytes).stage == .requested)
    }
}
