import TestSupport
import Testing

@testable import MigrationCore

@Suite("Elements of QEMU's main channel")
struct QEMUElementTests {
    private func check(
        _ stream: QEMUStreamBuilder, problem: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let parsed = ParsedStream(stream.bytes, sourceLocation: sourceLocation)
        #expect(parsed.parts == stream.expected, sourceLocation: sourceLocation)
        #expect(parsed.problem == problem, sourceLocation: sourceLocation)
    }

    /// Adds pages that must be found.
    private func addPages(_ stream: inout QEMUStreamBuilder) {
        stream.page(block: "pc.ram")
        for _ in 0..<3 { stream.page() }
        stream.zeroPage()
    }

    /// A stream that ends with something unknown. All behind it is bytes.
    private func check(problem: String, behind stream: QEMUStreamBuilder, _ add: (inout QEMUStreamBuilder) -> Void) {
        var whole = stream
        add(&whole)
        let parsed = ParsedStream(whole.bytes)
        var expected = stream
        expected.add(Array(whole.bytes[stream.bytes.count...]))
        #expect(parsed.parts == expected.expected)
        #expect(parsed.problem == problem)
    }

    @Test("A whole stream -> its pages")
    func whole() {
        var stream = QEMUStreamBuilder.untilPages()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        stream.part(isLast: true)
        addPages(&stream)
        stream.finish()
        check(stream)
    }

    @Test("All subsections of the configuration -> the pages behind it")
    func subsections() {
        var stream = QEMUStreamBuilder()
        stream.header()
        stream.configuration(machine: "virt-7.2")
        stream.subsection("target-page-bits", QEMUStreamBuilder.number(UInt32(12)))
        stream.capabilities("x-ignore-shared", "some-later-one")
        stream.subsection("uuid", [UInt8](repeating: 5, count: 16))
        stream.beginRAM([.init(name: "mach-virt.ram", length: 16 << 20, added: [1 << 30])])
        addPages(&stream)
        stream.finish()
        check(stream)
    }

    @Test("A configuration with no capabilities, or none at all -> the pages behind it", arguments: [true, false])
    func emptyConfiguration(isThere: Bool) {
        var stream = QEMUStreamBuilder()
        stream.header()
        if isThere {
            stream.configuration(machine: "")
            stream.capabilities()
        }
        stream.beginRAM()
        addPages(&stream)
        stream.finish()
        check(stream)
    }

    @Test("No footers, as of a machine for Xen -> pages until the first device")
    func noFooters() {
        var stream = QEMUStreamBuilder()
        stream.header()
        stream.begin("ram", 2)
        stream.blocks([.init(name: "pc.ram", length: 1 << 20)])
        stream.endOfSection()
        stream.part(2, isLast: true)
        addPages(&stream)
        stream.endOfSection()
        stream.begin("timer", 0, version: 2, isWhole: true)
        stream.add(stream.random.bytes(10_000))
        check(stream)
    }

    @Test("Devices before the RAM section, and other sections between its parts -> the pages")
    func interleaved() {
        var stream = QEMUStreamBuilder()
        stream.header()
        stream.configuration()
        stream.device("0000:00:03.0/virtio-mem", 40, stream.random.bytes(100))
        stream.begin("dirty-bitmap", 1)
        stream.add(stream.random.bytes(50))
        stream.footer(1)
        stream.beginRAM()
        for _ in 0..<5 {
            addPages(&stream)
            stream.endOfSection()
            stream.footer()
            stream.part(1)
            stream.add(stream.random.bytes(60))
            stream.footer(1)
            stream.part()
        }
        stream.finish()
        check(stream)
    }

    @Test("Post-copy: commands, a package, RAM again -> the pages behind the package")
    func postcopy() {
        var stream = QEMUStreamBuilder()
        stream.header()
        stream.configuration()
        stream.command(1)
        stream.command(2, [0, 0, 0, 1])
        stream.adviseOfPostcopy()
        stream.beginRAM()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        stream.command(6, [0, 6] + Array("pc.ram".utf8) + [0] + stream.random.bytes(32))
        stream.command(2, [0, 0, 0, 2])
        #expect(ParsedStream(stream.bytes).stage == .preCopy)
        // A package has no RAM, even if its bytes look like it.
        stream.package(QEMUStreamBuilder.untilPages().bytes + stream.random.bytes(20_000))
        stream.command(2, [0, 0, 0, 4])
        stream.part()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        stream.part(isLast: true)
        stream.endOfSection()
        stream.footer()
        stream.end(description: nil)
        check(stream)
        #expect(ParsedStream(stream.bytes).stage == .postCopy)
    }

    @Test("Post-copy, then something unknown -> it is post-copy still")
    func postcopyWithProblem() {
        var stream = QEMUStreamBuilder.untilPages()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        stream.package(stream.random.bytes(200))
        stream.add([0xaa] + stream.random.bytes(5000))
        let parsed = ParsedStream(stream.bytes)
        #expect(parsed.problem != nil && parsed.stage == .postCopy)
    }

    @Test("Commands that are unknown, or have an unusual length -> the pages behind them")
    func commands() {
        var stream = QEMUStreamBuilder()
        stream.header()
        stream.command(3)
        stream.command(7)
        stream.command(11)
        stream.command(999, stream.random.bytes(3000))
        stream.beginRAM()
        addPages(&stream)
        stream.finish()
        check(stream)
    }

    @Test("A post-copy that is resumed -> the pages of sections that began before")
    func resumed() {
        var stream = QEMUStreamBuilder()
        stream.command(10, QEMUStreamBuilder.name("pc.ram"))
        stream.command(9)
        stream.part(1)
        stream.add([0x90] + stream.random.bytes(40))
        stream.footer(1)
        stream.part()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        stream.part(isLast: true)
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        stream.end(description: nil)
        check(stream)
        #expect(ParsedStream(stream.bytes).stage == .postCopy)
    }

    @Test("A device's content that looks like footers -> the pages behind the device")
    func falseFooters() {
        var stream = QEMUStreamBuilder.untilPages()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        let footer: [UInt8] = [0x7e, 0, 0, 0, 9]
        let other: [UInt8] = [0x7e, 0, 0, 0, 8, 2, 0, 0, 0, 2]
        let unlikely: [[UInt8]] = [
            [1, 0, 0, 0, 7, 0], [4, 0, 1, 0, 0, 1], [4, 0, 0, 0, 7, 2, 65, 200], [2, 0, 0, 0, 3], [5], [6], [0x7e],
            [8, 0, 12, 0, 0], [8, 0, 2, 0, 5], [0, 7], [0, 6, 0, 0, 0, 9, 0],
        ]
        stream.device("device", 9, other + unlikely.flatMap { footer + $0 } + footer)
        stream.part(isLast: true)
        addPages(&stream)
        stream.finish()
        check(stream)
    }

    @Test("A device's content that has a whole element behind a footer -> the search goes on")
    func mistakenFooter() {
        var stream = QEMUStreamBuilder.untilPages()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        // A command without content, and then no element.
        stream.device("device", 9, [0x7e, 0, 0, 0, 9] + [8, 0, 1, 0, 0] + [0xaa, 0xbb])
        stream.part(isLast: true)
        addPages(&stream)
        stream.finish()
        check(stream)
    }

    @Test("An unknown element behind RAM that came after a device -> a problem, and no search for that device's footer")
    func unknownBehindRAM() {
        var stream = QEMUStreamBuilder.untilPages()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        stream.device("device", 9, [1, 2, 3])
        stream.part()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        check(problem: "QEMU's stream has an element of unknown type 9", behind: stream) { $0.add([9, 1, 2]) }
    }

    @Test("A device whose footer never comes -> bytes, and no problem")
    func endless() {
        var stream = QEMUStreamBuilder.untilPages()
        addPages(&stream)
        stream.endOfSection()
        stream.footer()
        stream.begin("device", 9, isWhole: true)
        stream.add([UInt8](repeating: 0x7e, count: 100_000))
        check(stream)
    }

    @Test("Bytes behind the description -> no pages are looked for, and no problem")
    func trailing() {
        var stream = QEMUStreamBuilder.untilPages()
        addPages(&stream)
        stream.finish()
        stream.add(QEMUStreamBuilder.untilPages().bytes)
        check(stream)
    }

    @Test("An unknown version, element, section, footer or subsection -> a problem, and bytes")
    func unknown() {
        var opened = QEMUStreamBuilder()
        opened.header()
        opened.configuration()
        var pages = QEMUStreamBuilder.untilPages()
        addPages(&pages)
        pages.endOfSection()
        check(problem: "QEMU's stream has version 4, not 3", behind: QEMUStreamBuilder()) { $0.header(version: 4) }
        check(problem: "QEMU's stream has an element of unknown type 9", behind: opened) { $0.add([9, 1, 2]) }
        check(problem: "QEMU's stream has an element of unknown type 126", behind: opened) { $0.footer() }
        check(problem: "QEMU's stream continues section 2, which has not begun", behind: opened) { $0.part() }
        check(problem: "a section with memory ends with the footer of section 3", behind: pages) { $0.footer(3) }
        check(problem: "QEMU sends memory in version 5, not 4", behind: opened) { $0.begin("ram", 2, version: 5) }
        check(problem: "QEMU's stream begins with a configuration that is unknown", behind: opened) {
            $0.subsection("later", [1, 2, 3, 4])
        }
        check(problem: "mapped-ram is on: QEMU puts pages at their places in a file", behind: opened) {
            $0.add([5] + QEMUStreamBuilder.name("configuration/capabilities") + [0, 0, 0, 1, 0, 0, 0, 1])
            $0.add(QEMUStreamBuilder.name("mapped-ram"))
        }
        check(problem: "x-colo is on", behind: opened) { $0.command(8) }
        check(problem: "the guest has pages of 2^9 bytes", behind: opened) {
            $0.subsection("target-page-bits", QEMUStreamBuilder.number(UInt32(9)))
        }
        check(problem: "the guest has pages of 5000 bytes", behind: opened) { $0.adviseOfPostcopy(pageBytes: 5000) }
        check(problem: "QEMU's stream has more than 1024 sections that continue", behind: opened) { stream in
            for section in 0...1024 {
                stream.begin("bitmap", UInt32(section))
                stream.footer(UInt32(section))
            }
        }
    }
}
