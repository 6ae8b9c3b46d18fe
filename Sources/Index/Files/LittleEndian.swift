import Hashing

/// Numbers at fixed places of a header, least significant byte first, and the checksum that seals it.
extension [UInt8] {
    mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
        Swift.withUnsafeBytes(of: number.littleEndian) {
            replaceSubrange(offset..<offset + $0.count, with: $0)
        }
    }

    func number<Number: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: Number.Type) -> Number {
        withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
    }

    /// Puts the SHA-256 of everything before `place` there.
    mutating func seal(from place: Int) {
        replaceSubrange(place..<place + SHA256Stream.byteCount, with: digest(of: place))
    }

    /// Checks what every header begins with, and its seal. The version stands before the seal: a later one may put
    /// everything else elsewhere.
    func checkHead(magic: [UInt8], version: UInt32, length: Int, sealAt place: Int) throws(TableFault) {
        guard count >= 12, starts(with: magic) else { throw .foreign }
        let found = number(at: 8, as: UInt32.self)
        guard found == version else { throw .version(found) }
        guard count == length else { throw .truncated }
        guard self[place..<place + SHA256Stream.byteCount].elementsEqual(digest(of: place)) else {
            throw .damaged("header")
        }
    }

    private func digest(of length: Int) -> [UInt8] {
        withUnsafeBytes { BlockHasher().digest(UnsafeRawBufferPointer(rebasing: $0[..<length])) }
    }
}
