import Hashing

/// Remembers where a block was last written, by the first half of its fingerprint. A repeated block then need not cross
/// the link, or be read from a neighbour again.
///
/// The size is fixed, so a later block may push an earlier one out. The cache is only advice: a block found by it is
/// read and hashed again before it is used (invariant 4).
package struct RepeatCache {
    private struct Entry {
        package var prefix: UInt64 = 0
        package var block: UInt64 = 0
    }

    private static let ways = 4

    private var entries: [Entry]

    /// - Parameter blocks: of the disk; the cache takes at most 16 bytes for each, and at most 16 MiB.
    package init(blocks: UInt64) {
        let count = 1 << max(4, 64 - (min(blocks, 1 << 20) - 1).leadingZeroBitCount)
        entries = Array(repeating: Entry(), count: min(count, 1 << 20))
    }

    /// The block that last had a fingerprint with this prefix; nil if none is remembered.
    package func block(with prefix: UInt64) -> UInt64? {
        guard prefix != 0 else { return nil }
        return places(of: prefix).lazy.map { entries[$0] }.first { $0.prefix == prefix }?.block
    }

    /// Records that `block` has a fingerprint with this prefix.
    package mutating func note(_ prefix: UInt64, at block: UInt64) {
        guard prefix != 0 else { return }
        let places = places(of: prefix)
        // The oldest is in the last place.
        let last = places.first { entries[$0].prefix == prefix } ?? places.upperBound - 1
        for place in stride(from: last, to: places.lowerBound, by: -1) { entries[place] = entries[place - 1] }
        entries[places.lowerBound] = Entry(prefix: prefix, block: block)
    }

    /// Records the fingerprints of consecutive blocks.
    package mutating func note(_ fingerprints: [Fingerprint], from block: UInt64) {
        for (offset, fingerprint) in fingerprints.enumerated() { note(fingerprint.high, at: block + UInt64(offset)) }
    }

    /// The places where an entry of this prefix may be.
    private func places(of prefix: UInt64) -> Range<Int> {
        let first = (Int(truncatingIfNeeded: prefix) & (entries.count / Self.ways - 1)) * Self.ways
        return first..<first + Self.ways
    }
}
