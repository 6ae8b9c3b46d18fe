/// The checksum that XFS and btrfs have in their blocks: CRC-32C (Castagnoli), as RFC 3720 defines it.
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0x82F6_3B78 : sum >> 1 }
    }

    /// The checksum of all bytes.
    /// - Parameter zeroing: bytes that count as zeros: the place of the checksum itself.
    static func of(_ bytes: ArraySlice<UInt8>, zeroing: Range<Int> = 0..<0) -> UInt32 {
        var sum = UInt32.max
        table.withUnsafeBufferPointer { table in
            bytes.withUnsafeBufferPointer { buffer in
                for index in buffer.indices {
                    let byte = zeroing.contains(index) ? 0 : buffer[index]
                    sum = table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] ^ sum >> 8
                }
            }
        }
        return ~sum
    }
}
