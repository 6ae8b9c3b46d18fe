/// The header that xl puts before libxl's stream, with the domain's configuration behind it (tools/xl/xl.h,
/// `struct save_file_header`).
enum XLHeader {
    static let byteCount = 48

    /// The bytes `Xen save`. The whole magic number has 32 bytes.
    static let magic: UInt64 = 0x5865_6e20_7361_7665

    private static let wholeMagic = Array("Xen saved domain, xl format\n \0 \r".utf8)
    /// The number 0x01020304, as either order has it.
    private static let order = (little: UInt32(0x0403_0201), big: UInt32(0x0102_0304))
    /// The flag of the streams of Xen since 4.6.
    private static let isVersion2: UInt32 = 1 << 1

    /// The header and what is behind it.
    /// - Parameter bytes: at least `byteCount`.
    static func step(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.starts(with: wholeMagic) else { return .problem(XenProblem.unknownStream) }
        let order = bytes.bigEndian(UInt32.self, at: 32)
        guard order == Self.order.little || order == Self.order.big else { return .problem(.byteOrder) }
        let isBigEndian = order == Self.order.big
        let flags = bytes.number(UInt32.self, at: 36, isBigEndian: isBigEndian)
        guard flags & isVersion2 != 0 else { return .problem(.legacy) }
        return .bytes(byteCount, others: Int(bytes.number(UInt32.self, at: 44, isBigEndian: isBigEndian)))
    }
}
