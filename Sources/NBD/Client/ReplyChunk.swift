/// A simple reply, or the header of one chunk of a structured reply, as a client receives it. Protocol text, "Simple reply
/// message", "Structured reply chunk message", "Structured reply types".
package struct ReplyChunk: Equatable, Sendable {
    /// The contents of a chunk.
    package enum Kind: Equatable, Sendable {
        /// A simple reply. The data of a successful read follows it.
        case simple
        /// Success, and nothing more.
        case end
        /// Data of a read, which follows the header.
        case data
        /// A range of a read that is zero.
        case hole
        /// The extents of a block status, `ReplyChunk.extentLength` bytes each.
        case status
        /// An error; its text follows the header.
        case error
    }

    /// The result of `parse`.
    package enum Parsed: Equatable, Sendable {
        /// The header is longer than the bytes at hand.
        case needsMore
        /// The bytes are no reply. The position in the stream is lost for good.
        case malformed
        case chunk(ReplyChunk)
    }

    /// The most bytes of a header. `parse` never needs more.
    package static let longestHeader = 32
    /// Bytes of an extent.
    package static let extentLength = 8
    /// The most bytes of an error's text. Protocol text: the limit of every string.
    private static let longestError = 6 + 8 + Wire.maximumString

    package let kind: Kind
    /// Whether the reply ends with this chunk.
    package let isLast: Bool
    package let cookie: UInt64
    /// Bytes of the header.
    package let headerLength: Int
    /// Bytes that follow the header. A simple reply does not tell: it has the data of a successful read.
    package let payloadLength: Int
    /// The first byte of `data` or of a `hole` on the disk; 0 for other kinds.
    package let offset: UInt64
    /// Bytes of the disk that `data` or a `hole` covers; 0 for other kinds.
    package let length: UInt64
    /// The error's value on the wire; 0 if there is none.
    package let error: UInt32
    /// The number of the context that a `status` is about; 0 for other kinds.
    package let context: UInt32

    /// Parses the header at the front of untrusted bytes.
    package static func parse(_ bytes: UnsafeRawBufferPointer) -> Parsed {
        guard bytes.count >= 16 else { return .needsMore }
        switch bytes.number(at: 0, as: UInt32.self) {
        case Wire.simpleReplyMagic:
            return .chunk(ReplyChunk(.simple, 16, bytes, error: bytes.number(at: 4, as: UInt32.self)))
        case Wire.structuredReplyMagic:
            return bytes.count < 20 ? .needsMore : parseChunk(bytes)
        default:
            return .malformed
        }
    }

    private static func parseChunk(_ bytes: UnsafeRawBufferPointer) -> Parsed {
        let count = Int(bytes.number(at: 16, as: UInt32.self))
        let isLast = bytes.number(at: 4, as: UInt16.self) & Wire.replyFlagDone != 0
        switch bytes.number(at: 6, as: UInt16.self) {
        case 0:
            guard count == 0, isLast else { return .malformed }
            return .chunk(ReplyChunk(.end, 20, bytes))
        case 1:
            guard count > 8 else { return .malformed }
            guard bytes.count >= 28 else { return .needsMore }
            return .chunk(
                ReplyChunk(
                    .data, 28, bytes, isLast: isLast, payload: count - 8, offset: bytes.number(at: 20, as: UInt64.self),
                    length: UInt64(count - 8)))
        case 2:
            guard count == 12 else { return .malformed }
            guard bytes.count >= 32 else { return .needsMore }
            return .chunk(
                ReplyChunk(
                    .hole, 32, bytes, isLast: isLast, offset: bytes.number(at: 20, as: UInt64.self),
                    length: UInt64(bytes.number(at: 28, as: UInt32.self))))
        case 5:
            guard count >= 4 + extentLength, (count - 4) % extentLength == 0 else { return .malformed }
            guard bytes.count >= 24 else { return .needsMore }
            let context = bytes.number(at: 20, as: UInt32.self)
            return .chunk(ReplyChunk(.status, 24, bytes, isLast: isLast, payload: count - 4, context: context))
        case let type where type & 0x8000 != 0:
            guard (6...longestError).contains(count) else { return .malformed }
            guard bytes.count >= 26 else { return .needsMore }
            // An error must not look like success.
            let error = max(1, bytes.number(at: 20, as: UInt32.self))
            return .chunk(ReplyChunk(.error, 26, bytes, isLast: isLast, payload: count - 6, error: error))
        default:
            return .malformed
        }
    }

    private init(
        _ kind: Kind, _ headerLength: Int, _ bytes: UnsafeRawBufferPointer, isLast: Bool = true, payload: Int = 0,
        offset: UInt64 = 0, length: UInt64 = 0, error: UInt32 = 0, context: UInt32 = 0
    ) {
        self.kind = kind
        self.isLast = isLast
        cookie = bytes.number(at: 8, as: UInt64.self)
        self.headerLength = headerLength
        payloadLength = payload
        self.offset = offset
        self.length = length
        self.error = error
        self.context = context
    }
}

extension UnsafeRawBufferPointer {
    /// The big-endian number at `offset`, which the caller has compared with the count.
    @inline(__always)
    fileprivate func number<T: FixedWidthInteger>(at offset: Int, as: T.Type) -> T {
        T(bigEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }
}
