/// A record of an NTFS's file table: one file, with its attributes.
struct NTFSRecord {
    private static let magic = Array("FILE".utf8)
    private static let end = UInt32.max

    private let bytes: [UInt8]

    /// - Throws: `FreeSpaceError.malformed` if it is none, or was written in part.
    init(_ bytes: [UInt8]) throws {
        self.bytes = try Self.whole(bytes, magic: Self.magic)
        guard isUsed else { throw FreeSpaceError.malformed }
    }

    /// How often the record has been used for another file.
    var sequence: UInt16 { bytes.littleEndian(at: 16) }

    private var isUsed: Bool { bytes.littleEndian(UInt16.self, at: 22) & 1 != 0 }

    /// The value of the file's attribute of a kind; nil if it has none.
    /// - Parameter name: Of an index; empty for other kinds.
    /// - Throws: `FreeSpaceError`; `unsupported` if the record does not say all of it, or it is compressed.
    func attribute(_ kind: NTFSAttribute.Kind, name: String = "") throws -> NTFSAttribute? {
        var place = Int(bytes.littleEndian(UInt16.self, at: 20))
        var isElsewhere = false
        while place + 4 <= bytes.count {
            let found = bytes.littleEndian(UInt32.self, at: place)
            if found == Self.end { break }
            guard place + 24 <= bytes.count else { throw FreeSpaceError.malformed }
            let length = Int(bytes.littleEndian(UInt32.self, at: place + 4))
            guard length >= 24, length % 8 == 0, length <= bytes.count - place else { throw FreeSpaceError.malformed }
            if found == NTFSAttribute.Kind.attributeList.rawValue { isElsewhere = true }
            if found == kind.rawValue, try self.name(at: place, length) == name { return try value(at: place, length) }
            place += length
        }
        guard !isElsewhere else { throw FreeSpaceError.unsupported }
        return nil
    }

    private func name(at place: Int, _ length: Int) throws -> String {
        let (count, offset) = (Int(bytes[place + 9]), Int(bytes.littleEndian(UInt16.self, at: place + 10)))
        guard count == 0 || offset + count * 2 <= length else { throw FreeSpaceError.malformed }
        let units = (0..<count).map { bytes.littleEndian(UInt16.self, at: place + offset + $0 * 2) }
        return String(decoding: units, as: UTF16.self)
    }

    private func value(at place: Int, _ length: Int) throws -> NTFSAttribute {
        // Compressed or encrypted. Sparse ones have holes.
        guard bytes.littleEndian(UInt16.self, at: place + 12) & 0x40ff == 0 else { throw FreeSpaceError.unsupported }
        guard bytes[place + 8] != 0 else {
            let count = Int(bytes.littleEndian(UInt32.self, at: place + 16))
            let offset = Int(bytes.littleEndian(UInt16.self, at: place + 20))
            guard offset <= length, count <= length - offset else { throw FreeSpaceError.malformed }
            return .resident(Array(bytes[place + offset..<place + offset + count]))
        }
        guard length >= 64 else { throw FreeSpaceError.malformed }
        // It begins in another record.
        guard bytes.littleEndian(UInt64.self, at: place + 16) == 0 else { throw FreeSpaceError.unsupported }
        let offset = Int(bytes.littleEndian(UInt16.self, at: place + 32))
        guard offset <= length else { throw FreeSpaceError.malformed }
        return .clusters(
            try NTFSAttribute.runs(bytes[place + offset..<place + length]),
            size: bytes.littleEndian(at: place + 48), written: bytes.littleEndian(at: place + 56))
    }

    /// Puts the last two bytes of each 512 back. There stands a number instead, by which a part that was not written is known.
    /// - Throws: `FreeSpaceError.malformed`.
    static func whole(_ bytes: [UInt8], magic: [UInt8]) throws -> [UInt8] {
        let (offset, count) = (Int(bytes.littleEndian(UInt16.self, at: 4)), Int(bytes.littleEndian(UInt16.self, at: 6)))
        guard bytes.starts(with: magic), count == bytes.count / 512 + 1, offset + count * 2 <= bytes.count else {
            throw FreeSpaceError.malformed
        }
        var whole = bytes
        for index in 1..<count {
            let end = index * 512
            guard bytes[end - 2..<end].elementsEqual(bytes[offset..<offset + 2]) else {
                throw FreeSpaceError.malformed
            }
            whole[end - 2] = bytes[offset + index * 2]
            whole[end - 1] = bytes[offset + index * 2 + 1]
        }
        return whole
    }
}
