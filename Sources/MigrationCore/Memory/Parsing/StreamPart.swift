/// A stretch of a memory stream. The parts that a parser returns follow each other without gaps.
///
/// A part says how its bytes may be described in fewer. A wrong part costs bytes on the link and never changes a byte of
/// the stream: `MemoryPacker` compares its bytes with the description.
package struct StreamPart: Equatable, Sendable {
    /// The content of a part.
    package enum Kind: UInt8, Sendable {
        /// Bytes that are no page.
        case bytes
        /// QEMU's page header, and a page.
        case page
        /// QEMU's page header with the zero flag, and one zero byte.
        case zeroPage
        /// A page without a header.
        case barePage
    }

    /// Bytes of a page: that of x86 and Arm guests, and the block size at which pages can be found on disks.
    package static let pageBytes = 4096
    /// Bytes of QEMU's page header: address and flags, big-endian (migration/ram.c, `save_page_header`).
    package static let headerBytes = 8

    package var kind: Kind
    /// Bytes of the stream, at least 1.
    package var count: Int

    package init(_ kind: Kind, _ count: Int) {
        self.kind = kind
        self.count = count
    }

    /// The bytes of a part with one page.
    package static func count(of kind: Kind) -> Int {
        switch kind {
        case .bytes: 1
        case .page: headerBytes + pageBytes
        case .zeroPage: headerBytes + 1
        case .barePage: pageBytes
        }
    }
}
