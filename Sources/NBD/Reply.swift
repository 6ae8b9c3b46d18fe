/// Writes the headers of replies. Protocol text, "Simple reply message", "Structured reply chunk message", "Structured
/// reply types"; the branch extension-ext-header for extended ones.
///
/// A read has one chunk with data, which is also the last one: it is sent only when nothing can fail any more. A block
/// status has one chunk for each context.
public enum Reply {
    private enum Chunk: UInt16 {
        case none = 0
        case offsetData = 1
        case blockStatus = 5
        case blockStatusExtended = 6
        case error = 0x8001
    }

    /// The most bytes of any header that is written here.
    public static let maximumHeader = 40

    /// Writes the header before the data of a successful read, `style.dataHeaderLength` bytes.
    /// - Parameters:
    ///   - offset: offset of the request in bytes.
    ///   - count: bytes of data, at least 1.
    public static func storeData(
        _ style: HeaderStyle, cookie: UInt64, offset: UInt64, count: Int, to bytes: UnsafeMutableRawPointer
    ) {
        guard style != .simple else { return storeSimple(.none, cookie: cookie, to: bytes) }
        storeChunk(.offsetData, style, cookie: cookie, offset: offset, count: 8 + count, to: bytes)
        store(offset, at: style.chunkHeaderLength, in: bytes)
    }

    /// Writes a whole reply without data; it reports success if `error` is `.none`.
    /// - Returns: bytes written, at most `maximumHeader`.
    public static func storeEnd(
        _ style: HeaderStyle, error: ErrorCode, cookie: UInt64, offset: UInt64, to bytes: UnsafeMutableRawPointer
    ) -> Int {
        guard style != .simple else {
            storeSimple(error, cookie: cookie, to: bytes)
            return 16
        }
        let header = style.chunkHeaderLength
        guard error != .none else {
            storeChunk(.none, style, cookie: cookie, offset: offset, count: 0, to: bytes)
            return header
        }
        storeChunk(.error, style, cookie: cookie, offset: offset, count: 6, to: bytes)
        store(error.rawValue, at: header, in: bytes)
        // The error message is empty: the error value tells all.
        store(UInt16(0), at: header + 4, in: bytes)
        return header + 6
    }

    /// Bytes of the header before the extents of a block status; at most `maximumHeader`.
    public static func statusHeaderLength(_ style: HeaderStyle) -> Int {
        style.chunkHeaderLength + (style == .extended ? 8 : 4)
    }

    /// Writes the header before the extents of a block status, `statusHeaderLength` bytes.
    /// - Parameters:
    ///   - count: the number of extents, at least 1.
    ///   - isLast: whether this is the last context of the reply.
    public static func storeStatus(
        _ style: HeaderStyle, _ context: MetaContext, cookie: UInt64, offset: UInt64, count: Int, isLast: Bool,
        to bytes: UnsafeMutableRawPointer
    ) {
        precondition(style != .simple && count > 0, "a block status needs chunks and at least one extent")
        let header = style.chunkHeaderLength
        let payload = count * extentLength(style)
        store(context.id, at: header, in: bytes)
        guard style == .extended else {
            return storeChunk(
                .blockStatus, style, cookie: cookie, offset: offset, count: 4 + payload, isLast: isLast, to: bytes)
        }
        storeChunk(
            .blockStatusExtended, style, cookie: cookie, offset: offset, count: 8 + payload, isLast: isLast, to: bytes)
        store(UInt32(count), at: header + 4, in: bytes)
    }

    /// Bytes of an extent on the wire.
    public static func extentLength(_ style: HeaderStyle) -> Int { style == .extended ? 16 : 8 }

    /// Writes one extent, `extentLength` bytes.
    /// - Parameter length: bytes; at most the length of the request, so that it fits the compact form of a compact
    ///   request.
    public static func storeExtent(
        _ style: HeaderStyle, length: UInt64, state: UInt64, to bytes: UnsafeMutableRawPointer
    ) {
        if style == .extended {
            store(length, at: 0, in: bytes)
            store(state, at: 8, in: bytes)
        } else {
            store(UInt32(length), at: 0, in: bytes)
            store(UInt32(truncatingIfNeeded: state), at: 4, in: bytes)
        }
    }

    private static func storeSimple(_ error: ErrorCode, cookie: UInt64, to bytes: UnsafeMutableRawPointer) {
        store(Wire.simpleReplyMagic, at: 0, in: bytes)
        store(error.rawValue, at: 4, in: bytes)
        store(cookie, at: 8, in: bytes)
    }

    private static func storeChunk(
        _ chunk: Chunk, _ style: HeaderStyle, cookie: UInt64, offset: UInt64, count: Int, isLast: Bool = true,
        to bytes: UnsafeMutableRawPointer
    ) {
        store(style == .extended ? Wire.extendedReplyMagic : Wire.structuredReplyMagic, at: 0, in: bytes)
        store(isLast ? Wire.replyFlagDone : 0, at: 4, in: bytes)
        store(chunk.rawValue, at: 6, in: bytes)
        store(cookie, at: 8, in: bytes)
        if style == .extended {
            store(offset, at: 16, in: bytes)
            store(UInt64(count), at: 24, in: bytes)
        } else {
            store(UInt32(count), at: 16, in: bytes)
        }
    }

    @inline(__always)
    private static func store<T: FixedWidthInteger>(_ value: T, at offset: Int, in bytes: UnsafeMutableRawPointer) {
        bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
    }
}
