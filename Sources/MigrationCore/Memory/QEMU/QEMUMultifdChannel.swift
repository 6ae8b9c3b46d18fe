/// Reads a channel of the capability multifd: packets of up to 512 KiB of pages (migration/multifd.h).
struct QEMUMultifdChannel: Sendable {
    static let magic: UInt32 = 0x1122_3344

    private static let version: UInt32 = 1
    /// Bytes of the channel's first message, `MultiFDInit_t`.
    private static let openingBytes = 64
    /// Bytes of a packet with pages, without the pages' addresses: `MultiFDPacket_t`.
    private static let headerBytes = 320
    /// Bytes of a packet with the state of a device: `MultiFDPacketDeviceState_t`.
    private static let deviceHeaderBytes = 276
    /// Bytes of the pages that a packet has at most.
    private static let mostPageBytes = 512 << 10
    private static let compressionFlags: UInt32 = 0x1f << 1
    private static let deviceFlag: UInt32 = 1 << 6

    private var isOpen = false
    /// Addresses in each packet, whether used or not.
    private var addresses = mostPageBytes / StreamPart.pageBytes

    /// - Parameter bytes: at least 1 byte.
    mutating func next(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard isOpen else { return opening(bytes) }
        guard bytes.count >= 12 else { return .more }
        guard bytes.bigEndian(UInt32.self, at: 0) == Self.magic else { return .problem(.multifdPacket) }
        let version = bytes.bigEndian(UInt32.self, at: 4)
        guard version == Self.version else { return .problem(.multifdVersion(version)) }
        let flags = bytes.bigEndian(UInt32.self, at: 8)
        if flags & Self.deviceFlag != 0 { return device(bytes) }
        let compression = flags & Self.compressionFlags
        return compression == 0 ? pages(bytes) : .problem(.multifdCompression(compression))
    }

    private mutating func opening(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= Self.openingBytes else { return .more }
        let version = bytes.bigEndian(UInt32.self, at: 4)
        guard version == Self.version else { return .problem(.multifdVersion(version)) }
        isOpen = true
        return .bytes(Self.openingBytes)
    }

    private func device(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= Self.deviceHeaderBytes else { return .more }
        let size = bytes.bigEndian(UInt32.self, at: Self.deviceHeaderBytes - 4)
        return .bytes(Self.deviceHeaderBytes, others: Int(size))
    }

    /// A packet with any number of pages, also none.
    ///
    /// The addresses that a packet has room for tell the guest's page size. QEMU since 9.0 leaves that number out of
    /// packets that only synchronise.
    private mutating func pages(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= 24 else { return .more }
        let room = Int(bytes.bigEndian(UInt32.self, at: 12))
        let pages = Int(bytes.bigEndian(UInt32.self, at: 16))
        let size = Int(bytes.bigEndian(UInt32.self, at: 20))
        if room > 0 {
            guard (8...512).contains(room), room.nonzeroBitCount == 1 else { return .problem(.multifdPacket) }
            addresses = room
        }
        let pageBytes = Self.mostPageBytes / addresses
        // Without pages, QEMU before 9.0 repeats the size of an earlier packet.
        guard pages <= addresses, pages == 0 || size == pages * pageBytes else { return .problem(.multifdPacket) }
        return packet(pages * pageBytes, arePages: pageBytes % StreamPart.pageBytes == 0)
    }

    private func packet(_ bytes: Int, arePages: Bool) -> StreamStep {
        let rest = Self.headerBytes - 24 + 8 * addresses
        return arePages ? .bytes(24, others: rest, pages: bytes) : .bytes(24, others: rest + bytes)
    }
}
