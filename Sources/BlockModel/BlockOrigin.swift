/// Origins of the bytes of a block when its disk moved: the columns of the ledger.
public enum BlockOrigin: Int, CaseIterable, Sendable {
    /// Zeros: nothing to bring.
    case zero
    /// They stood in the destination's image already.
    case present
    /// Copied from elsewhere on the same disk, at the destination.
    case repeated
    /// Copied from a neighbour, at the destination.
    case neighbour
    /// They came over the link.
    case link
}
