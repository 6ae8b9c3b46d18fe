/// A request header as it came, not yet judged. Protocol text, "Request message".
public struct Request: Sendable, Equatable {
    /// Unknown bits are kept for the judgement.
    public let flags: CommandFlags
    /// The command's number; may be one that nobody knows.
    public let type: UInt16
    /// The client's; goes back in the reply as it came.
    public let cookie: UInt64
    /// Bytes from the start of the export.
    public let offset: UInt64
    /// Bytes.
    public let length: UInt64
    /// Bytes that follow the header, whether the request is served or refused.
    public let payloadLength: UInt64

    /// Parses the bytes of a header, as many as `style` says.
    /// - Returns: nil where the magic is wrong: the stream is out of step and can't be mended.
    public init?(header bytes: UnsafeRawPointer, style: HeaderStyle) {
        func field<T: FixedWidthInteger>(_ offset: Int, as: T.Type) -> T {
            T(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        let isExtended = style == .extended
        let magic = isExtended ? Wire.extendedRequestMagic : Wire.requestMagic
        guard field(0, as: UInt32.self) == magic else { return nil }
        flags = CommandFlags(rawValue: field(4, as: UInt16.self))
        type = field(6, as: UInt16.self)
        cookie = field(8, as: UInt64.self)
        offset = field(16, as: UInt64.self)
        length = isExtended ? field(24, as: UInt64.self) : UInt64(field(24, as: UInt32.self))
        let hasPayload = isExtended ? flags.contains(.payloadLength) : type == Command.write.rawValue
        payloadLength = hasPayload ? length : 0
    }

    init(
        flags: CommandFlags = [], type: UInt16, cookie: UInt64 = 0, offset: UInt64 = 0, length: UInt64 = 0,
        payloadLength: UInt64 = 0
    ) {
        self.flags = flags
        self.type = type
        self.cookie = cookie
        self.offset = offset
        self.length = length
        self.payloadLength = payloadLength
    }

    /// The command, where it is a known one.
    public var command: Command? { Command(rawValue: type) }

    /// Whether `length` bytes of data go one way or the other.
    public var carriesData: Bool { command == .read || command == .write }
}
