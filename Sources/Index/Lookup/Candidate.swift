/// A possible place of a block. It is advice: `NeighbourIndex.fetch` checks it at the moment of use.
public struct Candidate: Hashable, Sendable {
    /// The position in `NeighbourIndex.neighbours`.
    public let neighbour: Int
    /// The block's number in that image, from 0.
    public let block: UInt64

    /// Creates a candidate; nothing is checked yet.
    public init(neighbour: Int, block: UInt64) {
        self.neighbour = neighbour
        self.block = block
    }
}
