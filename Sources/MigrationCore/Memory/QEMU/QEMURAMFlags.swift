/// The low bits of a word in a RAM section; the others are an address or a size (migration/ram.h, `RAM_SAVE_FLAG_…`).
struct QEMURAMFlags: OptionSet, Sendable {
    let rawValue: UInt64

    /// A page whose bytes are all the one that follows, which is 0 since QEMU 1.0.
    static let zero = QEMURAMFlags(rawValue: 0x2)
    /// The list of all blocks; the word has the sum of their lengths.
    static let blocks = QEMURAMFlags(rawValue: 0x4)
    static let page = QEMURAMFlags(rawValue: 0x8)
    static let endOfSection = QEMURAMFlags(rawValue: 0x10)
    /// The page is in the block of the page before; otherwise the block's name follows the word.
    static let sameBlock = QEMURAMFlags(rawValue: 0x20)
    /// A difference to an earlier version of the page.
    static let xbzrle = QEMURAMFlags(rawValue: 0x40)
    /// Only with RDMA, which sends nothing else through the stream.
    static let hook = QEMURAMFlags(rawValue: 0x80)
    /// A page compressed by zlib, until QEMU 9.0.
    static let compressed = QEMURAMFlags(rawValue: 0x100)
    /// The multifd channels are to be waited for, since QEMU 8.1.
    static let multifdFlush = QEMURAMFlags(rawValue: 0x200)

    /// Whether a channel that begins with this word is likely to have RAM.
    static func mayBegin(with word: UInt64) -> Bool {
        let flags = QEMURAMFlags(rawValue: word & 0xfff)
        return word < 1 << 48 && [.zero, .page, .endOfSection].contains(flags.subtracting(.sameBlock))
    }
}
