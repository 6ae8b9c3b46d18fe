import Testing

@testable import NBD

@Suite(.timeLimit(.minutes(10))) struct RequestParsingTests {
    @Test func everyHeaderFieldIsParsed() {
        let bytes: [UInt8] =
            [0x25, 0x60, 0x95, 0x13, 0x01, 0x02, 0x03, 0x04] + Array(0x10...0x17) + Array(0x20...0x27)
            + [0x30, 0x31, 0x32, 0x33]
        let request = Request(header: bytes, style: .simple)
        #expect(
            request
                == Request(
                    flags: CommandFlags(rawValue: 0x0102), type: 0x0304, cookie: 0x1011_1213_1415_1617,
                    offset: 0x2021_2223_2425_2627, length: 0x3031_3233))
        #expect(request?.command == nil)
    }

    @Test func unalignedHeadersAreParsed() {
        let header =
            be(UInt32(0x2560_9513)) + be(UInt16(1)) + be(UInt16(4)) + be(UInt64(1)) + be(UInt64(2))
            + be(UInt32(3))
        for shift in 0..<16 {
            let bytes = [UInt8](repeating: 0, count: shift) + header
            let request = bytes.withUnsafeBytes { Request(header: $0.baseAddress! + shift, style: .simple) }
            #expect(
                request == Request(flags: .forceUnitAccess, type: 4, cookie: 1, offset: 2, length: 3))
        }
    }

    @Test func aHeaderWithWrongMagicIsRefused() {
        let header = be(UInt32(0x2560_9513)) + [UInt8](repeating: 0, count: 24)
        for bit in 0..<32 {
            var bytes = header
            bytes[bit / 8] ^= 1 << (bit % 8)
            #expect(Request(header: bytes, style: .simple) == nil)
        }
        #expect(Request(header: header, style: .simple) != nil)
    }

    @Test func extendedHeadersHave64BitLengths() {
        let bytes =
            be(UInt32(0x21e4_1c71)) + be(UInt16(0x0102)) + be(UInt16(0x0304)) + be(UInt64(5)) + be(UInt64(6))
            + be(UInt64(0x0708_090a_0b0c_0d0e))
        #expect(bytes.count == HeaderStyle.extended.requestHeaderLength)
        let expected = Request(
            flags: CommandFlags(rawValue: 0x0102), type: 0x0304, cookie: 5, offset: 6, length: 0x0708_090a_0b0c_0d0e)
        #expect(Request(header: bytes, style: .extended) == expected)
        #expect(Request(header: bytes, style: .structured) == nil)
        let compact = be(UInt32(0x2560_9513)) + [UInt8](repeating: 0, count: 28)
        #expect(Request(header: compact, style: .extended) == nil)
    }

    /// A request has a payload if it is a write, and an extended one also if its flag says so.
    @Test func writesAndFlaggedExtendedRequestsHaveAPayload() {
        for type in UInt16(0)...20 {
            for flags in [UInt16(0), 32, 33, 1] {
                let start = be(flags) + be(type) + be(UInt64(0)) + be(UInt64(0))
                let compact = Request(
                    header: be(UInt32(0x2560_9513)) + start + be(UInt32(77)), style: .structured)
                #expect(compact?.payloadLength == (type == 1 ? 77 : 0))
                let extended = Request(
                    header: be(UInt32(0x21e4_1c71)) + start + be(UInt64(1) << 40), style: .extended)
                #expect(extended?.payloadLength == (type == 1 || flags & 32 != 0 ? 1 << 40 : 0))
            }
        }
    }

    @Test func unknownErrnoBecomesEIO() {
        let known: [Int32: UInt32] = [
            0: 0, 1: 1, 5: 5, 12: 12, 22: 22, 27: 28, 28: 28, 30: 1, 75: 75, 95: 95, 108: 108, 122: 28,
        ]
        for code in Int32(-5)...200 { #expect(ErrorCode(errno: code).rawValue == known[code] ?? 5) }
    }
}
