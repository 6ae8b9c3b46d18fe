/// A request for blocks that have come to another host of the site, for disks that arrive there.
public struct ArrivalRead: Sendable, Equatable {
    /// The most bytes of all blocks of a request.
    package static let maximumBytes = 1 << 20

    /// Chosen by the caller; the answer repeats it.
    package var id: UInt32
    /// Bytes of a block.
    package var blockSize: UInt32
    /// The domains of the disk for which is asked.
    package var domains: [String]
    /// The first halves of the blocks' fingerprints, at least one.
    package var prefixes: [UInt64]

    /// The most blocks of a request.
    package static func maximumBlocks(of blockSize: UInt32) -> Int { max(1, maximumBytes / max(1, Int(blockSize))) }

    package init(id: UInt32, blockSize: UInt32, domains: [String], prefixes: [UInt64]) {
        precondition((1...Self.maximumBlocks(of: blockSize)).contains(prefixes.count))
        self.id = id
        self.blockSize = blockSize
        self.domains = domains
        self.prefixes = prefixes
    }
}
