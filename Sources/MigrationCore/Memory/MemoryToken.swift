/// The kinds of tokens, in the three low bits of each token's first number. docs/protocol.md, "Tokens of a memory stream".
enum MemoryToken: UInt64 {
    /// The count is of bytes, or of pages, in the upper bits.
    case bytes, zeros, pages
    /// Then the distance from the block, or the page, behind the last reference.
    case disk, sent
    /// The next page's header has these flags, plus 1; then the distance of its address in pages.
    case header
    /// Later blocks are of this disk, plus 1.
    case selectDisk
    /// Later pages have headers (1) or have none (2).
    case layout

    static let kindBits: UInt64 = 3
}
