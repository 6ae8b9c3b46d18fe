/// The header of a compact request as a client sends it. Protocol text, "Request message".
package struct CommandHeader: Sendable {
    /// Bytes on the wire.
    package static let length = 28

    private let bytes: (UInt32, UInt16, UInt16, UInt64, UInt64, UInt32)

    /// - Parameters:
    ///   - offset: bytes from the start of the disk.
    ///   - length: bytes of the range or of the payload that follows.
    package init(_ command: Command, _ flags: CommandFlags, cookie: UInt64, offset: UInt64, length: UInt32) {
        bytes = (
            Wire.requestMagic.bigEndian, flags.rawValue.bigEndian, command.rawValue.bigEndian, cookie.bigEndian,
            offset.bigEndian, length.bigEndian
        )
    }
}
