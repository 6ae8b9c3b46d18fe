import NBD

/// A request, valid or not.
struct ClientRequest: Sendable {
    static let (read, write, disconnect, flush, trim, cache, zero, status) =
        (UInt16(0), UInt16(1), UInt16(2), UInt16(3), UInt16(4), UInt16(5), UInt16(6), UInt16(7))
    static let (forced, noHole, doNotFragment, one, fast, payloadLength) =
        (UInt16(1), UInt16(2), UInt16(4), UInt16(8), UInt16(16), UInt16(32))

    var type: UInt16
    var offset: UInt64 = 0
    var length: UInt64 = 0
    var flags: UInt16 = 0
    var cookie: UInt64 = 0x0123_4567_89ab_cdef
    var payload: [UInt8] = []

    static func read(_ offset: Int, _ length: Int, cookie: UInt64 = 1) -> ClientRequest {
        ClientRequest(type: read, offset: UInt64(offset), length: UInt64(length), cookie: cookie)
    }

    static func write(_ offset: Int, _ payload: [UInt8], cookie: UInt64 = 1) -> ClientRequest {
        ClientRequest(
            type: write, offset: UInt64(offset), length: UInt64(payload.count), cookie: cookie,
            payload: payload)
    }

    /// The wire format for a client that has negotiated nothing.
    var bytes: [UInt8] { bytes(.simple) }

    /// The wire format; extended writes get the flag that they need.
    func bytes(_ style: HeaderStyle) -> [UInt8] {
        guard style == .extended else {
            return be(UInt32(0x2560_9513)) + be(flags) + be(type) + be(cookie) + be(offset)
                + be(UInt32(truncatingIfNeeded: length)) + payload
        }
        let flags = type == Self.write ? flags | Self.payloadLength : flags
        return be(UInt32(0x21e4_1c71)) + be(flags) + be(type) + be(cookie) + be(offset) + be(length) + payload
    }
}
