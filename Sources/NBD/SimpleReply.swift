/// The header of an answer; the data of a successful read follows it. Protocol text, "Simple reply message".
public enum SimpleReply {
    /// Writes the 16 bytes of a header.
    public static func store(error: ErrorCode, cookie: UInt64, to bytes: UnsafeMutableRawPointer) {
        bytes.storeBytes(of: Wire.simpleReplyMagic.bigEndian, as: UInt32.self)
        bytes.storeBytes(of: error.rawValue.bigEndian, toByteOffset: 4, as: UInt32.self)
        bytes.storeBytes(of: cookie.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
}
