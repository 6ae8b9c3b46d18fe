import NIOCore

@testable import Migration
@testable import MigrationProtocol

/// Values that the golden tests share, and hexadecimal text.
enum GoldenValues {
    /// `0123456789abcdeffedcba9876543210`.
    static let first = migration(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210)
    /// `00000000000000010000000000000002`.
    static let second = migration(1, 2)
    /// The bytes 0 to 31.
    static let root = DiskRoot(Array(0..<32))
    static let rootHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

    static func migration(_ high: UInt64, _ low: UInt64) -> MigrationID {
        var buffer = ByteBuffer()
        buffer.writeMultipleIntegers(high, low)
        return MigrationID(from: &buffer)!
    }

    static func runs(_ runs: (first: UInt64, count: UInt64)...) -> [BlockRange] {
        runs.map { BlockRange(first: $0.first, count: $0.count) }
    }

    /// The bytes of hexadecimal text, in which spaces and line ends mean nothing.
    static func bytes(_ hex: String) -> ByteBuffer {
        let digits = hex.filter { !$0.isWhitespace }
        precondition(digits.count % 2 == 0, "half a byte in \(hex)")
        var buffer = ByteBuffer()
        var rest = digits[...]
        while let pair = rest.isEmpty ? nil : rest.prefix(2) {
            buffer.writeInteger(UInt8(pair, radix: 16)!)
            rest = rest.dropFirst(2)
        }
        return buffer
    }

    static func hex(_ buffer: ByteBuffer) -> String { hex(Array(buffer.readableBytesView)) }

    static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
