/// The contents of consecutive blocks at the moment when they were read.
public struct ManifestSegment: Sendable, Equatable {
    /// The content of one block.
    package enum Entry: Sendable, Equatable {
        case zero
        /// The first half of the block's fingerprint. `Wants.check` verifies the other half.
        case prefix(UInt64)
        /// The block is being rewritten; it comes in a later round.
        case later
    }

    /// The most blocks of one segment.
    package static let maximumBlocks = 4096

    package var first: UInt64
    package var entries: [Entry]

    package init(first: UInt64, entries: [Entry]) {
        self.first = first
        self.entries = entries
    }

    /// A prefix for each block; 0 if it has none.
    package var prefixes: [UInt64] { entries.map { if case .prefix(let prefix) = $0 { prefix } else { 0 } } }
}
