import Index

/// Remembers where on the arriving disk a fingerprint was last written: blocks that repeat need not cross the link, nor
/// be read from a neighbour again.
///
/// Of fixed size, so a later block may push an earlier one out, and only advice: the block is read and hashed again
/// before it is used (invariant 4).
struct RepeatCache {
    private struct Entry {
        var fingerprint = Fingerprint.zero
        var block: UInt64 = 0
    }

    private var entries: [Entry]

    /// - Parameter blocks: of the disk; what is kept is at most 24 bytes for each, and at most 24 MiB.
    init(blocks: UInt64) {
        let count = 1 << max(4, 64 - (min(blocks, 1 << 20) - 1).leadingZeroBitCount)
        entries = Array(repeating: Entry(), count: min(count, 1 << 20))
    }

    /// Where such a block was written, as far as is remembered.
    func block(with fingerprint: Fingerprint) -> UInt64? {
        guard fingerprint != .zero else { return nil }
        let entry = entries[slot(fingerprint)]
        return entry.fingerprint == fingerprint ? entry.block : nil
    }

    /// Notes that `block` holds such bytes.
    mutating func note(_ fingerprint: Fingerprint, at block: UInt64) {
        guard fingerprint != .zero else { return }
        entries[slot(fingerprint)] = Entry(fingerprint: fingerprint, block: block)
    }

    private func slot(_ fingerprint: Fingerprint) -> Int {
        Int(truncatingIfNeeded: fingerprint.low) & (entries.count - 1)
    }
}
