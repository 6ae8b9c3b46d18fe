import Hashing

/// The contents of consecutive blocks, in groups, for a destination that has an older copy of the disk.
public struct ManifestSummary: Sendable, Equatable {
    /// Blocks of a group; the last of a segment may have fewer.
    package static let groupBlocks = 32

    package var first: UInt64
    /// Blocks; at most `ManifestSegment.maximumBlocks`.
    package var count: Int
    /// `Fingerprint.combined` of each group; `.zero` for one that is being rewritten.
    package var groups: [Fingerprint]

    /// The number of groups of that many blocks.
    package static func groups(of blocks: Int) -> Int { (blocks + groupBlocks - 1) / groupBlocks }

    /// The blocks of a group, counted from the first.
    package static func blocks(of group: Int, of count: Int) -> Range<Int> {
        group * groupBlocks..<min(count, (group + 1) * groupBlocks)
    }

    /// The blocks of a group.
    package func blocks(of group: Int) -> Range<UInt64> {
        let blocks = Self.blocks(of: group, of: count)
        return first + UInt64(blocks.lowerBound)..<first + UInt64(blocks.upperBound)
    }

    package init(first: UInt64, count: Int, groups: [Fingerprint]) {
        self.first = first
        self.count = count
        self.groups = groups
    }

    /// Summarises a segment, whose blocks have `fingerprints`.
    package init(of segment: ManifestSegment, _ fingerprints: [Fingerprint]) {
        let count = segment.entries.count
        let groups = (0..<Self.groups(of: count)).map { group in
            let blocks = Self.blocks(of: group, of: count)
            return segment.entries[blocks].contains(.later) ? .zero : Fingerprint.combined(fingerprints[blocks])
        }
        self.init(first: segment.first, count: count, groups: groups)
    }
}
