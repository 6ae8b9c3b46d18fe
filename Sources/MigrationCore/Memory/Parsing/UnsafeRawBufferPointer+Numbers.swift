extension UnsafeRawBufferPointer {
    /// A number as QEMU and networks write it. The bytes must be there.
    func bigEndian<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number {
        Number(bigEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }

    /// A number in the order that a stream has named. The bytes must be there.
    func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int, isBigEndian: Bool) -> Number {
        let number = loadUnaligned(fromByteOffset: offset, as: type)
        return isBigEndian ? Number(bigEndian: number) : Number(littleEndian: number)
    }

    /// The bytes from an offset to the end. The offset must be at most `count`.
    func from(_ offset: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[offset...])
    }

    /// The place of a byte with a value; nil if there is none from an offset on.
    func first(_ value: UInt8, from offset: Int) -> Int? {
        let repeated = UInt64(value) &* 0x0101_0101_0101_0101
        var place = offset
        // Eight bytes at once: a byte of `word` is zero if it has the value, and the subtraction then borrows.
        while place <= count - 8 {
            let word = loadUnaligned(fromByteOffset: place, as: UInt64.self) ^ repeated
            if (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 != 0 { break }
            place += 8
        }
        while place < count {
            if self[place] == value { return place }
            place += 1
        }
        return nil
    }
}
