/// The origin of every byte of a migration. Bytes of the disk; bytes that were sent again count again.
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

    package init(zero: UInt64 = 0, present: UInt64 = 0, repeated: UInt64 = 0, neighbour: UInt64 = 0, link: UInt64 = 0) {
        self.zero = zero
        self.present = present
        self.repeated = repeated
        self.neighbour = neighbour
        self.link = link
    }

    /// Adds the bytes that came later.
    package mutating func add(_ other: Ledger) {
        zero = zero.addingClamped(other.zero)
        present = present.addingClamped(other.present)
        repeated = repeated.addingClamped(other.repeated)
        neighbour = neighbour.addingClamped(other.neighbour)
        link = link.addingClamped(other.link)
    }

    /// Adds the bytes that a destination had of a segment.
    package mutating func add(_ wants: Wants) {
        present = present.addingClamped(wants.present)
        repeated = repeated.addingClamped(wants.repeated)
        neighbour = neighbour.addingClamped(wants.neighbour)
    }

    /// All of it: the disk, plus what was sent again; the highest number where it is more.
    public var total: UInt64 {
        [present, repeated, neighbour, link].reduce(zero) { $0.addingClamped($1) }
    }

    /// The ledger as far as it can be true of a disk of `size` bytes: a peer may say anything.
    package func limited(to size: UInt64) -> Ledger {
        Ledger(
            zero: min(zero, size), present: min(present, size), repeated: min(repeated, size),
            neighbour: min(neighbour, size), link: min(link, size))
    }
}
