/// Chooses the blocks of a relative that become the prefix of the stream, and judges whether they are worth it.
package struct PrefixChoice: Sendable {
    /// A block of the relative, and the number of anchors of the moved disk in it.
    package struct Scored: Sendable {
        package let block: UInt64
        package let anchors: Int

        package init(block: UInt64, anchors: Int) {
            self.block = block
            self.anchors = anchors
        }
    }

    /// Bytes that the stream becomes shorter for each byte between two anchors that are found. Measured on Debian 13 with
    /// Debian 12 as its relative, at level 9: 0.27.
    private static let gain = 0.2
    /// Bytes that naming a block takes.
    private static let cost = 8.0
    /// Expected compressed size of blocks, by their size.
    private static let ratio = 0.35
    /// The least gain for which a prefix is used: bytes, and a share of the stream.
    private static let leastBytes = 128e3
    private static let leastShare = 0.02

    /// The chosen blocks; ascending.
    package let blocks: [UInt64]
    /// Bytes that the stream is expected to become shorter, naming the blocks included; may be negative.
    package let saving: Double

    /// - Parameter most: the most blocks to be chosen.
    package init(of scored: [Scored], most: Int) {
        let best = scored.filter { $0.anchors > 0 }.sorted { $0.anchors > $1.anchors }.prefix(most)
        blocks = best.map(\.block).sorted()
        let found = best.reduce(0) { $0 + $1.anchors }
        saving = Double(found * AnchorTable.interval) * Self.gain - Double(best.count) * Self.cost
    }

    /// Whether the prefix is worth its memory and work.
    /// - Parameter missing: bytes of blocks in which anchors were noted.
    package func isWorthIt(for missing: UInt64) -> Bool {
        saving >= max(Self.leastBytes, Double(missing) * Self.ratio * Self.leastShare)
    }
}
