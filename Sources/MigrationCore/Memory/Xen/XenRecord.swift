/// The header of a record, of which there are two levels in Xen's stream: a type and a length. The body is padded to 8 bytes.
struct XenRecord: Sendable {
    static let headerBytes = 8

    let type: UInt32
    /// Bytes of the body, without padding.
    let length: UInt32

    /// - Parameter bytes: at least `headerBytes`.
    init(_ bytes: UnsafeRawBufferPointer, isBigEndian: Bool) {
        type = bytes.number(UInt32.self, at: 0, isBigEndian: isBigEndian)
        length = bytes.number(UInt32.self, at: 4, isBigEndian: isBigEndian)
    }

    /// The whole record, as bytes.
    var step: StreamStep { .bytes(Self.headerBytes, others: (Int(length) + 7) & ~7) }
}
