import Testing

@testable import NBD

@Suite(.timeLimit(.minutes(1))) struct RequestParsingTests {
    @Test func everyFieldStandsInItsPlace() {
        let bytes: [UInt8] =
            [0x25, 0x60, 0x95, 0x13, 0x01, 0x02, 0x03, 0x04] + Array(0x10...0x17) + Array(0x20...0x27)
            + [0x30, 0x31, 0x32, 0x33]
        let request = Request(header: bytes)
        #expect(
            request
                == Request(
                    flags: CommandFlags(rawValue: 0x0102), type: 0x0304, cookie: 0x1011_1213_1415_1617,
                    offset: 0x2021_2223_2425_2627, length: 0x3031_3233))
        #expect(request?.command == nil)
    }

    @Test func aHeaderMayStandAnywhereInMemory() {
        let header =
            be(UInt32(0x2560_9513)) + be(UInt16(1)) + be(UInt16(4)) + be(UInt64(1)) + be(UInt64(2))
            + be(UInt32(3))
        for shift in 0..<16 {
            let bytes = [UInt8](repeating: 0, count: shift) + header
            let request = bytes.withUnsafeBytes { Request(header: $0.baseAddress! + shift) }
            #expect(
                request == Request(flags: .forceUnitAccess, type: 4, cookie: 1, offset: 2, length: 3))
        }
    }

    @Test func aHeaderWithAnyOtherMagicIsNone() {
        let header = be(UInt32(0x2560_9513)) + [UInt8](repeating: 0, count: 24)
        for bit in 0..<32 {
            var bytes = header
            bytes[bit / 8] ^= 1 << (bit % 8)
            #expect(Request(header: bytes) == nil)
        }
        #expect(Request(header: header) != nil)
    }

    @Test func onlyWritesHaveAPayload() {
        for type in UInt16(0)...20 {
            let request = Request(type: type, length: 77)
            #expect(request.payloadLength == (type == 1 ? 77 : 0))
            #expect(request.needsBuffer == (type <= 1))
        }
    }

    @Test func aReplyIsSixteenBytes() {
        var bytes = [UInt8](repeating: 0xee, count: 17)
        SimpleReply.store(error: .shuttingDown, cookie: 0x0102_0304_0506_0708, to: &bytes)
        #expect(bytes == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 108, 1, 2, 3, 4, 5, 6, 7, 8, 0xee])
    }

    @Test func errorNumbersThatTheProtocolDoesNotKnowBecomeInputOutput() {
        let known: [Int32: UInt32] = [
            0: 0, 1: 1, 5: 5, 12: 12, 22: 22, 27: 28, 28: 28, 30: 1, 75: 75, 95: 95, 108: 108, 122: 28,
        ]
        for code in Int32(-5)...200 { #expect(ErrorCode(errno: code).rawValue == known[code] ?? 5) }
    }
}
