import Testing

@testable import NBD

/// The bytes of replies, written by hand from the protocol text.
@Suite(.timeLimit(.minutes(10))) struct ReplyTests {
    private let cookie: UInt64 = 0x0102_0304_0506_0708
    private let offset: UInt64 = 0x1112_1314_1516_1718
    private let simple: [UInt8] = [0x67, 0x44, 0x66, 0x98]
    private let structured: [UInt8] = [0x66, 0x8e, 0x33, 0xef]
    private let extended: [UInt8] = [0x6e, 0x8a, 0x27, 0x8c]

    /// The bytes that `store` writes; it must write nothing behind them.
    private func written(_ store: (UnsafeMutableRawPointer) -> Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: 64)
        let count = bytes.withUnsafeMutableBytes { store($0.baseAddress!) }
        #expect(count <= Reply.maximumHeader && bytes[count...].allSatisfy { $0 == 0xee })
        return Array(bytes[..<count])
    }

    private func end(_ style: HeaderStyle, _ error: ErrorCode) -> [UInt8] {
        written { Reply.storeEnd(style, error: error, cookie: cookie, offset: offset, to: $0) }
    }

    private func data(_ style: HeaderStyle, _ count: Int) -> [UInt8] {
        written {
            Reply.storeData(style, cookie: cookie, offset: offset, count: count, to: $0)
            return style.dataHeaderLength
        }
    }

    private func status(_ style: HeaderStyle, _ count: Int, isLast: Bool = true) -> [UInt8] {
        written {
            Reply.storeStatus(
                style, .allocation, cookie: cookie, offset: offset, count: count, isLast: isLast, to: $0)
            return Reply.statusHeaderLength(style)
        }
    }

    @Test func simpleReplies() {
        #expect(end(.simple, .none) == simple + be(UInt32(0)) + be(cookie))
        #expect(end(.simple, .shuttingDown) == simple + be(UInt32(108)) + be(cookie))
        #expect(data(.simple, 5) == simple + be(UInt32(0)) + be(cookie))
    }

    @Test func structuredReplies() {
        func header(_ type: UInt16, _ count: UInt32) -> [UInt8] {
            structured + be(UInt16(1)) + be(type) + be(cookie) + be(count)
        }
        #expect(end(.structured, .none) == header(0, 0))
        #expect(end(.structured, .noSpace) == header(0x8001, 6) + be(UInt32(28)) + be(UInt16(0)))
        #expect(data(.structured, 4096) == header(1, 4104) + be(offset))
        #expect(status(.structured, 3) == header(5, 4 + 24) + be(UInt32(1)))
        // Only the last chunk has the flag "done".
        #expect(status(.structured, 3, isLast: false)[4..<6] == [0, 0])
    }

    @Test func extendedReplies() {
        func header(_ type: UInt16, _ count: UInt64) -> [UInt8] {
            extended + be(UInt16(1)) + be(type) + be(cookie) + be(offset) + be(count)
        }
        #expect(end(.extended, .none) == header(0, 0))
        #expect(end(.extended, .invalid) == header(0x8001, 6) + be(UInt32(22)) + be(UInt16(0)))
        #expect(data(.extended, 1) == header(1, 9) + be(offset))
        #expect(status(.extended, 2) == header(6, 8 + 32) + be(UInt32(1)) + be(UInt32(2)))
    }

    @Test func extents() {
        func extent(_ style: HeaderStyle, _ length: UInt64) -> [UInt8] {
            written {
                Reply.storeExtent(style, length: length, state: 3, to: $0)
                return Reply.extentLength(style)
            }
        }
        #expect(extent(.structured, 0xffff_ffff) == be(UInt32.max) + be(UInt32(3)))
        #expect(extent(.extended, 1 << 50) == be(UInt64(1) << 50) + be(UInt64(3)))
    }
}
