/// A request header as received, not validated. Protocol text, "Request message".
public struct Request: Sendable, Equatable {
    /// All bits, including unknown ones, for the validation.
    public let flags: CommandFlags
    /// The command's number, known or not.
    public let type: UInt16
    /// The client's tag; the reply returns it unchanged.
    public let cookie: UInt64
    /// Bytes from the start of the export.
    public let offset: UInt64
    /// Bytes, of the range or of the payload.
    public let length: UInt64
    /// Bytes that follow the header, whether the request is served or refused.
    public let payloadLength: UInt64

    /// Parses a header of `style.requestHeaderLength` bytes.
    /// - Returns: nil if the magic is wrong: the position in the stream is then lost for good.
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
        // QEMU 10.0 does not flag the payload of an extended write, though the protocol requires it. QEMU's own server
        // takes such a write as it is meant.
        let hasPayload = type == Command.write.rawValue || isExtended && flags.contains(.payloadLength)
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

    /// The command; nil if the number is unknown.
    public var command: Command? { Command(rawValue: type) }

    /// Whether `length` bytes of data go to or from the client.
    public var carriesData: Bool { command == .read || command == .write }
}
