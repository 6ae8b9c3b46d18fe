import Hashing

/// The blocks of a manifest segment that the destination lacks, and the origin of the others.
public struct Wants: Sendable, Equatable {
    package var first: UInt64
    /// Whether each block's bytes are wanted.
    package var wanted: [Bool]
    /// Bytes that stood in the image already.
    package var present: UInt64
    /// Bytes copied from elsewhere on the same disk.
    package var repeated: UInt64
    /// Bytes copied from neighbours, or from other disks that came here.
    package var neighbour: UInt64
    /// `Fingerprint.combined` of those blocks that have a prefix and are not wanted. If both sides compute the same
    /// value, no block was mistaken for another with the same prefix.
    package var check = Fingerprint.zero

    package init(
        first: UInt64, wanted: [Bool], present: UInt64, repeated: UInt64, neighbour: UInt64,
        check: Fingerprint = Fingerprint.zero
    ) {
        self.first = first
        self.wanted = wanted
        self.present = present
        self.repeated = repeated
        self.neighbour = neighbour
        self.check = check
    }
}
