/// Remembers where a block was last written, by the first half of its fingerprint: blocks that repeat need not cross the link, nor
/// be read from a neighbour again.
///
/// Of fixed size, so a later block may push an earlier one out, and only advice: the block is read and hashed again
/// before it is used (invariant 4).
struct RepeatCache {
    private struct Entry {
        var prefix: UInt64 = 0
        var block: UInt64 = 0
    }

    private var entries: [Entry]

    /// - Parameter blocks: of the disk; what is kept is at most 16 bytes for each, and at most 16 MiB.
    init(blocks: UInt64) {
        let count = 1 << max(4, 64 - (min(blocks, 1 << 20) - 1).leadingZeroBitCount)
        entries = Array(repeating: Entry(), count: min(count, 1 << 20))
    }

    /// Where such a block was written, as far as is remembered.
    func block(with prefix: UInt64) -> UInt64? {
        guard prefix != 0 else { return nil }
        let entry = entries[slot(prefix)]
        return entry.prefix == prefix ? entry.block : nil
    }

    /// Notes that `block` holds such bytes.
    mutating func note(_ prefix: UInt64, at block: UInt64) {
        guard prefix != 0 else { return }
        entries[slot(prefix)] = Entry(prefix: prefix, block: block)
    }

    private func slot(_ prefix: UInt64) -> Int { Int(truncatingIfNeeded: prefix) & (entries.count - 1) }
}
