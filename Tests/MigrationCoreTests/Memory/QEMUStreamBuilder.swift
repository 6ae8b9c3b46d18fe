import TestSupport

@testable import MigrationCore

/// Makes streams as QEMU sends them, and the parts that are expected of them.
struct QEMUStreamBuilder {
    /// A block of memory in the list of all blocks.
    struct Block {
        var name: String
        var length: UInt64
        /// Words behind the length: a page size, an address.
        var added: [UInt64] = []
    }

    /// The number of the RAM section.
    static let ram: UInt32 = 2

    private(set) var made = ExpectedStream()
    var random: Seeded
    /// The address of the next page.
    private var address: UInt64 = 0x10_0000

    init(_ random: Seeded = Seeded(1)) { self.random = random }

    // MARK: Bytes

    var bytes: [UInt8] { made.bytes }
    var expected: [StreamPart] { made.parts }

    mutating func add(_ added: [UInt8], _ kind: StreamPart.Kind = .bytes) { made.add(added, kind) }

    static func number<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    static func name(_ name: String) -> [UInt8] { [UInt8(name.utf8.count)] + name.utf8 }

    // MARK: Elements

    mutating func header(version: UInt32 = 3) { add(Array("QEVM".utf8) + Self.number(version)) }

    mutating func configuration(machine: String = "pc-i440fx-7.2") {
        add([7] + Self.number(UInt32(machine.utf8.count)) + machine.utf8)
    }

    mutating func subsection(_ name: String, _ content: [UInt8]) {
        add([5] + Self.name("configuration/" + name) + Self.number(UInt32(1)) + content)
    }

    mutating func capabilities(_ names: String...) {
        subsection("capabilities", Self.number(UInt32(names.count)) + names.flatMap(Self.name))
    }

    mutating func begin(_ name: String, _ section: UInt32, version: UInt32 = 4, isWhole: Bool = false) {
        add([isWhole ? 4 : 1] + Self.number(section) + Self.name(name) + Self.number(UInt32(0)) + Self.number(version))
    }

    mutating func part(_ section: UInt32 = ram, isLast: Bool = false) {
        add([isLast ? 3 : 2] + Self.number(section))
    }

    mutating func footer(_ section: UInt32 = ram) { add([0x7e] + Self.number(section)) }

    mutating func device(_ name: String, _ section: UInt32, _ content: [UInt8]) {
        begin(name, section, version: 1, isWhole: true)
        add(content)
        footer(section)
    }

    mutating func command(_ number: UInt16, _ content: [UInt8] = []) {
        add([8] + Self.number(number) + Self.number(UInt16(content.count)) + content)
    }

    mutating func adviseOfPostcopy(pageBytes: UInt64 = 4096) {
        command(3, Self.number(UInt64(0x20_1000)) + Self.number(pageBytes))
    }

    mutating func package(_ content: [UInt8]) {
        command(7, Self.number(UInt32(content.count)))
        add(content)
    }

    /// The end of the stream, and the description of the devices.
    mutating func end(description: String? = #"{"devices": []}"#) {
        add([0])
        guard let description else { return }
        add([6] + Self.number(UInt32(description.utf8.count)) + description.utf8)
    }

    // MARK: RAM

    mutating func word(_ address: UInt64, _ flags: UInt64) { add(Self.number(address | flags)) }

    mutating func blocks(_ blocks: [Block]) {
        word(blocks.reduce(0) { $0 + $1.length }, 4)
        for block in blocks {
            add(Self.name(block.name) + Self.number(block.length) + block.added.flatMap { Self.number($0) })
        }
    }

    mutating func endOfSection() { word(0, 0x10) }

    /// A page with other content each time.
    /// - Parameter block: the name of its block; nil for the block of the page before.
    mutating func page(block: String? = nil, pageBytes: Int = 4096, content: [UInt8]? = nil) {
        let header = pageHeader(8, block)
        let content = content ?? random.bytes(pageBytes)
        guard block != nil || pageBytes != 4096 else { return add(header + content, .page) }
        add(header)
        bare(content, pageBytes: pageBytes)
    }

    /// Pages without headers. Smaller ones are bytes.
    mutating func bare(_ content: [UInt8], pageBytes: Int = 4096) {
        guard pageBytes >= 4096 else { return add(content) }
        made.add(pages: content)
    }

    mutating func zeroPage(block: String? = nil, fill: UInt8 = 0) {
        add(pageHeader(2, block) + [fill], block == nil && fill == 0 ? .zeroPage : .bytes)
    }

    mutating func difference(block: String? = nil, count: Int = 70, encoding: UInt8 = 1) {
        add(pageHeader(0x40, block) + [encoding] + Self.number(UInt16(count)) + random.bytes(count))
    }

    mutating func compressedPage(block: String? = nil, count: Int = 700) {
        add(pageHeader(0x100, block) + Self.number(UInt32(count)) + random.bytes(min(count, 10_000)))
    }

    private mutating func pageHeader(_ flag: UInt64, _ block: String?) -> [UInt8] {
        address += 1 << 16
        return Self.number(address | flag | (block == nil ? 0x20 : 0)) + (block.map(Self.name) ?? [])
    }

    // MARK: Channels of multifd

    mutating func openMultifd(version: UInt32 = 1) {
        add(Self.number(UInt32(0x1122_3344)) + Self.number(version) + random.bytes(56))
    }

    /// A packet of pages.
    /// - Parameters:
    ///   - room: the number of addresses that the packet says it has, if it says another.
    ///   - size: the number of bytes that the packet says its pages have, if it says another.
    mutating func packet(
        pages: Int, zeroPages: Int = 0, pageBytes: Int = 4096, flags: UInt32 = 0, room: Int? = nil, size: Int? = nil
    ) {
        let addresses = (512 << 10) / pageBytes
        let numbers = [
            0x1122_3344, 1, flags, UInt32(room ?? addresses), UInt32(pages), UInt32(size ?? pages * pageBytes),
        ]
        add(numbers.flatMap { Self.number($0) } + Self.number(UInt64(7)) + Self.number(UInt32(zeroPages)))
        add([UInt8](repeating: 0, count: 28) + Array("pc.ram".utf8) + [UInt8](repeating: 0, count: 250))
        add(random.bytes(8 * addresses))
        bare(random.bytes(pages * pageBytes), pageBytes: pageBytes)
    }

    mutating func devicePacket(_ content: [UInt8]) {
        add([0x1122_3344, 1, 0x40].flatMap { Self.number(UInt32($0)) } + [UInt8](repeating: 1, count: 260))
        add(Self.number(UInt32(content.count)) + content)
    }
}

extension QEMUStreamBuilder {
    /// A stream up to the beginning of a RAM section's pages.
    static func untilPages(_ random: Seeded = Seeded(1), _ blocks: [Block] = [Block(name: "pc.ram", length: 16 << 20)])
        -> QEMUStreamBuilder
    {
        var stream = QEMUStreamBuilder(random)
        stream.header()
        stream.configuration()
        stream.beginRAM(blocks)
        return stream
    }

    /// The list of blocks in the first RAM section, and the header of the second.
    mutating func beginRAM(_ blocks: [Block] = [Block(name: "pc.ram", length: 16 << 20)]) {
        begin("ram", Self.ram)
        self.blocks(blocks)
        endOfSection()
        footer()
        part()
    }

    /// The end of a RAM section, the devices, and the end of the stream.
    mutating func finish() {
        endOfSection()
        footer()
        device("timer", 0, random.bytes(300))
        device("0000:00:02.0/vga", 27, random.bytes(5000))
        end()
    }
}
