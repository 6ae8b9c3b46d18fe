import MigrationCore

/// Memory streams as xl makes them, of given pages.
enum MadeDomain {
    private static let marker = [UInt8](repeating: 0xff, count: 8)

    /// The whole stream of a domain, up to libxl's end.
    static func stream(of pages: [UInt8]) -> [UInt8] {
        let configuration = Array(#"{"c_info": {"type": "hvm"}}"#.utf8) + [0]
        var out = Array("Xen saved domain, xl format\n \0 \r".utf8)
        out += words(0x0102_0304, 3, 0, configuration.count + 4, configuration.count) + configuration
        out += Array("LibxlFmt".utf8) + [0, 0, 0, 2, 0, 0, 0, 0]
        out += record(1)
        out += marker + Array("XENF".utf8) + [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0] + words(2, 12, 4, 17)
        out += record(0x10)
        let numbers = (0..<pages.count / StreamPart.pageBytes).flatMap { words($0, 0) }
        out += record(1, words(pages.count / StreamPart.pageBytes, 0) + numbers + pages)
        out += record(9, [UInt8](repeating: 3, count: 5001)) + record(0)
        out += record(3, words(2, 0) + Array("QEVM".utf8)) + record(0)
        return out
    }

    private static func record(_ type: Int, _ body: [UInt8] = []) -> [UInt8] {
        words(type, body.count) + body + [UInt8](repeating: 0, count: (8 - body.count % 8) % 8)
    }

    private static func words(_ numbers: Int...) -> [UInt8] {
        numbers.flatMap { number in withUnsafeBytes(of: UInt32(number).littleEndian) { Array($0) } }
    }
}
