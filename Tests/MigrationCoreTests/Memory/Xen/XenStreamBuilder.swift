import TestSupport

@testable import MigrationCore

/// Makes streams as Xen's toolstack sends them, and the parts that are expected of them.
///
/// They follow libxc-migration-stream.pandoc and libxl-migration-stream.pandoc in docs/specs of Xen.
struct XenStreamBuilder {
    /// Types of pages with and without content.
    static let (withContent, without): ([UInt64], [UInt64]) = ([0, 0, 0, 1, 2, 3, 4, 9, 10, 11, 12], [13, 14, 15])

    private(set) var made = ExpectedStream()
    let isBigEndian: Bool
    var random: Seeded

    init(_ random: Seeded = Seeded(1), isBigEndian: Bool = false) {
        self.random = random
        self.isBigEndian = isBigEndian
    }

    var bytes: [UInt8] { made.bytes }
    var expected: [StreamPart] { made.parts }

    mutating func add(_ added: [UInt8]) { made.add(added) }

    func number<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: isBigEndian ? number.bigEndian : number.littleEndian) { Array($0) }
    }

    static func bigEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    // MARK: xl and libxl

    /// xl's header, and the domain's configuration with its length.
    mutating func xlHeader(configuration: String = #"{"c_info": {"type": "hvm"}}"#, flags: UInt32 = 3) {
        let content = Array(configuration.utf8) + [0]
        add(Array("Xen saved domain, xl format\n \0 \r".utf8))
        add(number(UInt32(0x0102_0304)) + number(flags) + number(UInt32(0)) + number(UInt32(content.count + 4)))
        add(number(UInt32(content.count)) + content)
    }

    mutating func libxlHeader(version: UInt32 = 2) {
        add(Array("LibxlFmt".utf8) + Self.bigEndian(version) + Self.bigEndian(UInt32(isBigEndian ? 1 : 0)))
    }

    /// A record of libxl or libxc.
    mutating func record(_ type: UInt32, _ body: [UInt8] = []) {
        add(number(type) + number(UInt32(body.count)) + body)
        add([UInt8](repeating: 0, count: (8 - body.count % 8) % 8))
    }

    mutating func context() { record(1) }

    /// The state of an emulator, with the number of an upstream QEMU.
    mutating func emulator(_ content: [UInt8], type: UInt32 = 3) {
        record(type, number(UInt32(2)) + number(UInt32(0)) + content)
    }

    /// The emulator, and the end of libxl's stream.
    mutating func finishLibxl() {
        emulator([], type: 2)
        emulator(Array("QEVM".utf8) + random.bytes(3000))
        record(0)
    }

    // MARK: libxc

    mutating func image(isParavirtual: Bool = false, version: UInt32 = 3, pageBits: UInt16 = 12) {
        add([UInt8](repeating: 0xff, count: 8) + Array("XENF".utf8) + Self.bigEndian(version))
        add(Self.bigEndian(UInt16(isBigEndian ? 1 : 0)) + [UInt8](repeating: 0, count: 6))
        add(number(UInt32(isParavirtual ? 1 : 2)) + number(pageBits) + [0, 0] + number(UInt32(4)) + number(UInt32(17)))
        if isParavirtual { record(2, [8, 4, 0, 0, 0, 0, 0, 0]) }
        if version > 2 {
            record(0x11, [UInt8](repeating: 0, count: 48))
            record(0x12, [UInt8](repeating: 0, count: 16))
            record(0x10)
        }
        if isParavirtual { record(3, number(UInt32(0)) + number(UInt32(511)) + number(UInt64(7))) }
    }

    /// A record of pages.
    /// - Parameter types: one for each page.
    mutating func pages(_ types: [UInt64], pageBytes: Int = StreamPart.pageBytes) {
        let count = types.count { Self.withContent.contains($0) }
        pages(types, content: random.bytes(count * pageBytes))
    }

    mutating func pages(_ types: [UInt64], content: [UInt8]) {
        add(number(UInt32(1)) + number(UInt32(8 + 8 * types.count + content.count)))
        add(number(UInt32(types.count)) + number(UInt32(0)))
        add(types.enumerated().flatMap { number($1 << 60 | UInt64(0x100 + $0)) })
        made.add(pages: content)
    }

    /// The records behind the pages, and the end.
    mutating func finishImage(isParavirtual: Bool = false) {
        record(8, random.bytes(16) + [0, 0, 0, 0, 0, 0, 0, 0])
        if isParavirtual {
            record(7, random.bytes(4096))
            for type: UInt32 in [4, 5, 6, 12] {
                record(type, number(UInt32(0)) + number(UInt32(0)) + random.bytes(125))
            }
        } else {
            record(10, number(UInt32(1)) + number(UInt32(0)) + random.bytes(16))
            record(9, random.bytes(5001))
        }
        record(0)
    }

    /// The stream of `xl migrate`.
    static func migration(
        _ random: Seeded = Seeded(1), isBigEndian: Bool = false, isParavirtual: Bool = false, version: UInt32 = 3,
        pages: (inout XenStreamBuilder) -> Void
    ) -> XenStreamBuilder {
        var stream = XenStreamBuilder(random, isBigEndian: isBigEndian)
        stream.xlHeader()
        stream.libxlHeader()
        stream.context()
        stream.image(isParavirtual: isParavirtual, version: version)
        pages(&stream)
        stream.finishImage(isParavirtual: isParavirtual)
        stream.finishLibxl()
        return stream
    }
}
