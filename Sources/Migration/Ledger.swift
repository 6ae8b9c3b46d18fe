/// Where every byte of a migration came from. Bytes of the disk; what was sent again is counted again.
public struct Ledger: Codable, Sendable, Equatable {
    /// Zero blocks: nothing to bring.
    public var zero: UInt64 = 0
    /// Stood in the destination's image already.
    public var present: UInt64 = 0
    /// Copied from elsewhere on the same disk, at the destination.
    public var repeated: UInt64 = 0
    /// Copied from a neighbour, at the destination, or from another disk that has come there.
    public var neighbour: UInt64 = 0
    /// Came over the link.
    public var link: UInt64 = 0

    /// Adds what came later.
    mutating func add(_ other: Ledger) {
        zero += other.zero
        present += other.present
        repeated += other.repeated
        neighbour += other.neighbour
        link += other.link
    }

    /// Adds what a destination had of a segment.
    mutating func add(_ wants: Wants) {
        present += wants.present
        repeated += wants.repeated
        neighbour += wants.neighbour
    }

    /// All of it: the disk, plus what was sent again.
    public var total: UInt64 { zero + present + repeated + neighbour + link }
}
