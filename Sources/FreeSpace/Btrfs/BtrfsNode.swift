/// A node of a tree of a btrfs: items with their keys, or pointers to nodes below.
struct BtrfsNode {
    /// The place of a node, and what it must say of itself.
    struct Pointer {
        let address: UInt64
        let generation: UInt64
        let level: UInt8
    }

    /// A key, by which all items of a tree ascend.
    struct Key: Comparable {
        let object: UInt64
        let type: UInt8
        let offset: UInt64

        static func < (one: Key, other: Key) -> Bool {
            (one.object, one.type, one.offset) < (other.object, other.type, other.offset)
        }
    }

    private static let headerBytes = 101
    private static let itemBytes = 25
    private static let pointerBytes = 33
    /// Bytes of a key.
    static let keyBytes = 17

    private let bytes: [UInt8]
    let level: UInt8
    /// Items, or pointers.
    let count: Int

    /// - Throws: `FreeSpaceError.malformed` if it is not the node that the pointer means.
    init(_ bytes: [UInt8], at pointer: Pointer) throws {
        self.bytes = bytes
        level = bytes[100]
        count = Int(bytes.littleEndian(UInt32.self, at: 96))
        let each = level == 0 ? Self.itemBytes : Self.pointerBytes
        guard CRC32C.of(bytes[32...]) == bytes.littleEndian(UInt32.self, at: 0), level == pointer.level, level < 8,
            bytes.littleEndian(UInt64.self, at: 48) == pointer.address,
            bytes.littleEndian(UInt64.self, at: 80) == pointer.generation,
            count <= (bytes.count - Self.headerBytes) / each
        else { throw FreeSpaceError.malformed }
    }

    func key(_ index: Int) -> Key {
        Self.key(bytes, at: Self.headerBytes + index * (level == 0 ? Self.itemBytes : Self.pointerBytes))
    }

    static func key(_ bytes: [UInt8], at place: Int) -> Key {
        Key(
            object: bytes.littleEndian(at: place), type: bytes[place + 8], offset: bytes.littleEndian(at: place + 9))
    }

    /// The node below.
    func child(_ index: Int) -> Pointer {
        let place = Self.headerBytes + index * Self.pointerBytes + Self.keyBytes
        return Pointer(
            address: bytes.littleEndian(at: place), generation: bytes.littleEndian(at: place + 8), level: level - 1)
    }

    /// The bytes of an item.
    /// - Throws: `FreeSpaceError.malformed` if they are not in the node.
    func item(_ index: Int) throws -> [UInt8] {
        let place = Self.headerBytes + index * Self.itemBytes + Self.keyBytes
        let start = Self.headerBytes + Int(bytes.littleEndian(UInt32.self, at: place))
        let length = Int(bytes.littleEndian(UInt32.self, at: place + 4))
        guard start <= bytes.count, length <= bytes.count - start else { throw FreeSpaceError.malformed }
        return Array(bytes[start..<start + length])
    }
}
