/// Where a block may stand: advice, to be checked by `NeighbourIndex.fetch` at the moment of use.
public struct Candidate: Hashable, Sendable {
    /// The position in `NeighbourIndex.neighbours`.
    public let neighbour: Int
    /// The block's number in that image, from 0.
    public let block: UInt64

    /// A candidate from its parts.
    public init(neighbour: Int, block: UInt64) {
        self.neighbour = neighbour
        self.block = block
    }
}
