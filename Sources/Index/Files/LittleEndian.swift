import Hashing

/// Little-endian numbers at fixed offsets of a header, and the checksum of the header.
extension [UInt8] {
    mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
        Swift.withUnsafeBytes(of: number.littleEndian) {
            replaceSubrange(offset..<offset + $0.count, with: $0)
        }
    }

    func number<Number: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: Number.Type) -> Number {
        withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
    }

    /// Stores the SHA-256 of all bytes before `place` at `place`.
    mutating func seal(from place: Int) {
        replaceSubrange(place..<place + SHA256Stream.byteCount, with: digest(of: place))
    }

    /// Checks magic, version, length and checksum. The version is checked before the checksum, because a later version
    /// may have another layout.
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
