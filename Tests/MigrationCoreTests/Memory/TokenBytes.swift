@testable import MigrationCore

/// Tokens of memory, as a hostile source may put them together.
enum TokenBytes {
    static func number(_ number: UInt64) -> [UInt8] {
        var (bytes, rest): ([UInt8], UInt64) = ([], number)
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    static func token(_ token: MemoryToken, _ count: UInt64) -> [UInt8] { number(count << 3 | token.rawValue) }

    static func distance(_ distance: Int64) -> [UInt8] { number(UInt64(bitPattern: distance << 1 ^ distance >> 63)) }

    static func bytes(_ count: UInt64) -> [UInt8] { token(.bytes, count) }
    static func zeros(_ count: UInt64) -> [UInt8] { token(.zeros, count) }
    static func pages(_ count: UInt64) -> [UInt8] { token(.pages, count) }
    static func disk(_ count: UInt64, at distance: Int64) -> [UInt8] { token(.disk, count) + self.distance(distance) }
    static func sent(_ count: UInt64, at distance: Int64) -> [UInt8] { token(.sent, count) + self.distance(distance) }
    static func select(_ disk: UInt64) -> [UInt8] { token(.selectDisk, disk + 1) }
    static func header(_ flags: UInt64, at distance: Int64) -> [UInt8] {
        token(.header, flags + 1) + self.distance(distance)
    }

    static let headers = token(.layout, 1)
    static let noHeaders = token(.layout, 2)
}
