/// Asks another host of the site which of some blocks have come there for disks that arrive. Only if both sides have
/// `arrivals`.
public struct ArrivalQuestion: Sendable, Equatable {
    /// The most blocks of one question.
    package static let maximumBlocks = ManifestSegment.maximumBlocks
    /// The longest wait that is asked for, in milliseconds.
    package static let maximumWait: UInt32 = 60_000

    /// Chosen by the caller; the answer repeats it.
    package var id: UInt32
    /// The order of the disk for which is asked.
    package var order: ArrivalOrder
    /// The time for which the answer may wait for blocks that come soon, in milliseconds.
    package var wait: UInt32
    /// Bytes of a block.
    package var blockSize: UInt32
    /// The domains of the disk; blocks of disks with others do not count.
    package var domains: [String]
    /// The first halves of fingerprints; none asks only whether disks arrive.
    package var prefixes: [UInt64]

    package init(
        id: UInt32, order: ArrivalOrder, wait: UInt32, blockSize: UInt32, domains: [String], prefixes: [UInt64]
    ) {
        precondition(prefixes.count <= Self.maximumBlocks && wait <= Self.maximumWait)
        self.id = id
        self.order = order
        self.wait = wait
        self.blockSize = blockSize
        self.domains = domains
        self.prefixes = prefixes
    }
}
