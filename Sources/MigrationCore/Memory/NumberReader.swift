import MigrationProtocol

/// Reads the numbers of tokens from a buffer.
struct NumberReader {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { position == bytes.count }

    /// A token and its count, which is at least 1.
    /// - Throws: `MigrationError.unexpected`.
    mutating func token() throws -> (MemoryToken, Int) {
        let number = try number()
        let count = number >> MemoryToken.kindBits
        guard let token = MemoryToken(rawValue: number & 7), count > 0, let count = Int(exactly: count) else {
            throw MigrationError.unexpected("a malformed token of memory")
        }
        return (token, count)
    }

    /// A distance in either direction.
    /// - Throws: `MigrationError.unexpected`.
    mutating func distance() throws -> Int64 {
        let number = try number()
        return Int64(bitPattern: number >> 1) ^ -Int64(bitPattern: number & 1)
    }

    private mutating func number() throws -> UInt64 {
        var result: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard position < bytes.count else { break }
            let byte = bytes[position]
            position += 1
            guard shift < 63 || byte <= 1 else { break }
            result |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return result }
        }
        throw MigrationError.unexpected("a malformed number in a token of memory")
    }
}
