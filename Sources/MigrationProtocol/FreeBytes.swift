/// The blocks of a disk that were free at the start of a migration, as the guest's file systems said, outside holes.
public struct FreeBytes: Codable, Sendable, Equatable {
    /// Bytes of all of them.
    public var known: UInt64
    /// Bytes of those that have crossed the link. Blocks that were found at the destination, or that the guest has written
    /// since, are not among them.
    public var sent: UInt64

    package init(known: UInt64 = 0, sent: UInt64 = 0) {
        self.known = known
        self.sent = sent
    }

    /// Both together; nil if there is neither.
    package static func sum(_ one: FreeBytes?, _ other: FreeBytes?) -> FreeBytes? {
        guard let one, let other else { return one ?? other }
        return FreeBytes(known: one.known.addingClamped(other.known), sent: one.sent.addingClamped(other.sent))
    }
}
