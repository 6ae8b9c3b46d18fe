/// Gathers small pieces of a table into large writes, and hashes them on the way.
struct SectionWriter: ~Copyable {
    private let file: TemporaryFile
    private let buffer = ReadBuffer(count: 1 << 18)
    private let stream = SHA256Stream()
    private var offset: UInt64
    private var filled = 0

    init(file: TemporaryFile, offset: UInt64) {
        self.file = file
        self.offset = offset
    }

    mutating func append(_ fingerprint: Fingerprint) throws {
        fingerprint.store(into: try reserve(Fingerprint.byteCount))
    }

    /// Appends the lowest `width` bytes of a number, 8 at most, the least significant first.
    mutating func append(_ number: some FixedWidthInteger, width: Int) throws {
        let target = try reserve(width)
        withUnsafeBytes(of: UInt64(truncatingIfNeeded: number).littleEndian) { bytes in
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<width]))
        }
    }

    /// Writes the rest; the section's SHA-256.
    mutating func finish(expectedEnd: UInt64) throws -> [UInt8] {
        try flush()
        precondition(offset == expectedEnd, "the header announces another length than was written")
        return stream.finish()
    }

    private mutating func reserve(_ count: Int) throws -> UnsafeMutableRawBufferPointer {
        if filled + count > buffer.bytes.count { try flush() }
        defer { filled += count }
        return UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[filled..<filled + count])
    }

    private mutating func flush() throws {
        let bytes = UnsafeRawBufferPointer(buffer.prefix(filled))
        stream.update(bytes)
        try file.write(bytes, at: offset)
        offset += UInt64(filled)
        filled = 0
    }
}
