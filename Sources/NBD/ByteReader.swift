/// Reads big-endian numbers and strings off the front of untrusted bytes.
struct ByteReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    var isAtEnd: Bool { rest.isEmpty }

    /// Returns nil if too few bytes are left.
    mutating func integer<T: FixedWidthInteger>(_: T.Type = T.self) -> T? {
        let width = MemoryLayout<T>.size
        guard rest.count >= width else { return nil }
        defer { rest.removeFirst(width) }
        return rest.prefix(width).reduce(0) { $0 << 8 | T(truncatingIfNeeded: $1) }
    }

    /// Returns nil if too few bytes are left or they are not valid UTF-8.
    mutating func string(count: Int) -> String? {
        guard rest.count >= count else { return nil }
        defer { rest.removeFirst(count) }
        return String(validating: rest.prefix(count), as: UTF8.self)
    }

    /// Reads a string of at most 4096 bytes behind its 32-bit length; nil if it is longer, incomplete or not UTF-8.
    mutating func prefixedString() -> String? {
        guard let length: UInt32 = integer(), length <= Wire.maximumString else { return nil }
        return string(count: Int(length))
    }
}
