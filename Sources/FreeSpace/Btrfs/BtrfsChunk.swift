/// Addresses of a btrfs that stand at one or two places of its device.
struct BtrfsChunk {
    /// The type of its key.
    static let itemType: UInt8 = 228
    /// All flags but those of what stands there, and the one of two copies.
    private static let profiles: (all: UInt64, copies: UInt64) = (~7, 0x20)
    private static let fixedBytes = 48
    private static let stripeBytes = 32

    let addresses: Range<UInt64>
    /// The first byte of each copy.
    let places: [UInt64]

    /// Reads an item.
    /// - Parameters:
    ///   - address: Of the key.
    ///   - device: The one device.
    /// - Throws: `FreeSpaceError`; `unsupported` for other devices and ways to spread data.
    init(_ item: ArraySlice<UInt8>, at address: UInt64, on device: UInt64, of deviceBytes: UInt64) throws {
        let item = Array(item)
        guard item.count >= Self.fixedBytes else { throw FreeSpaceError.malformed }
        let length = item.littleEndian(UInt64.self, at: 0)
        let (end, overflows) = address.addingReportingOverflow(length)
        guard length > 0, length <= deviceBytes, !overflows else { throw FreeSpaceError.malformed }
        let type = item.littleEndian(UInt64.self, at: 24) & Self.profiles.all
        let stripes = Int(item.littleEndian(UInt16.self, at: 44))
        guard type == 0 && stripes == 1 || type == Self.profiles.copies && stripes == 2 else {
            throw FreeSpaceError.unsupported
        }
        guard item.count >= Self.fixedBytes + stripes * Self.stripeBytes else { throw FreeSpaceError.malformed }
        addresses = address..<end
        places = try (0..<stripes).map { index in
            let place = Self.fixedBytes + index * Self.stripeBytes
            guard item.littleEndian(UInt64.self, at: place) == device else { throw FreeSpaceError.unsupported }
            let start = item.littleEndian(UInt64.self, at: place + 8)
            guard start <= deviceBytes - length else { throw FreeSpaceError.malformed }
            return start
        }
    }

    /// Bytes of an item at the start of others; nil if it is not whole.
    static func length(of items: ArraySlice<UInt8>) -> Int? {
        guard items.count >= fixedBytes else { return nil }
        let length = fixedBytes + Int(Array(items).littleEndian(UInt16.self, at: 44)) * stripeBytes
        return length <= items.count ? length : nil
    }
}
