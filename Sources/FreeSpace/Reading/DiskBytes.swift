import Glibc

/// Bytes of an open disk, or of a partition of it.
struct DiskBytes {
    let descriptor: CInt
    /// First byte of it on the disk.
    let start: UInt64
    /// Its bytes.
    let size: UInt64

    /// Reads `count` bytes, all within the partition.
    /// - Throws: `FreeSpaceError.malformed` if they are not; `unreadable`.
    func read(at offset: UInt64, count: Int) throws -> [UInt8] {
        guard offset <= size, UInt64(count) <= size - offset, let place = off_t(exactly: start + offset) else {
            throw FreeSpaceError.malformed
        }
        var done = 0
        let bytes = try [UInt8](unsafeUninitializedCapacity: count) { room, filled in
            while done < count {
                let got = pread(descriptor, room.baseAddress! + done, count - done, place + off_t(done))
                guard got > 0 else { throw FreeSpaceError.unreadable }
                done += got
            }
            filled = count
        }
        return bytes
    }
}

extension [UInt8] {
    /// The big-endian number at an offset that lies within the bytes, as the number behind it does.
    func bigEndian<Number: FixedWidthInteger>(_ type: Number.Type = Number.self, at offset: Int) -> Number {
        self[offset..<offset + MemoryLayout<Number>.size].reduce(0) { $0 << 8 | Number($1) }
    }
}

extension [UInt8] {
    /// The little-endian number at an offset that lies within the bytes, as the number behind it does.
    func littleEndian<Number: FixedWidthInteger>(_ type: Number.Type = Number.self, at offset: Int) -> Number {
        self[offset..<offset + MemoryLayout<Number>.size].reversed().reduce(0) {
            $0 << 8 | Number(truncatingIfNeeded: $1)
        }
    }
}
