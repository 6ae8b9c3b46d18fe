/// The expectation of both nodes of what follows in a memory stream, so that only the rest need be said.
struct MemoryPrediction {
    /// The flags of QEMU's page headers, the low bits of an address (migration/ram.c, `RAM_SAVE_FLAG_*`). These are of a
    /// page and of a zero page behind another one of the same RAM block.
    private static let pageFlags: UInt64 = 0x28
    private static let zeroFlags: UInt64 = 0x22
    private static let flagMask = UInt64(StreamPart.pageBytes - 1)

    private var address: UInt64 = 0
    private var pages = pageFlags
    private var zeros = zeroFlags
    /// Whether pages have headers.
    var hasHeaders = true
    /// The disk of the last reference, and the block and the page behind the last ones that were referred to.
    var disk = 0
    var block: UInt64 = 0
    var sent: UInt64 = 0

    /// The next header of a page.
    /// - Parameter isZero: whether it is of a zero page.
    func header(isZero: Bool) -> UInt64 { address | (isZero ? zeros : pages) }

    /// Records the header of one page or of the last one of a run.
    mutating func passed(_ header: UInt64, isZero: Bool) {
        if isZero { zeros = header & Self.flagMask } else { pages = header & Self.flagMask }
        address = (header & ~Self.flagMask) &+ UInt64(StreamPart.pageBytes)
    }

    /// The distance in pages of a header from the next address, and its flags.
    func difference(of header: UInt64) -> (pages: Int64, flags: UInt64) {
        let distance = Int64(bitPattern: (header & ~Self.flagMask) &- address) >> 12
        return (distance, header & Self.flagMask)
    }

    /// The reverse of `difference`.
    func header(at distance: Int64, flags: UInt64) -> UInt64 {
        (address &+ UInt64(bitPattern: distance << 12)) | (flags & Self.flagMask)
    }
}
