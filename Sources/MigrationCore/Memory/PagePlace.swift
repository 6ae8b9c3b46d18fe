/// A place of a page's bytes that both nodes have.
package enum PagePlace: Equatable, Sendable {
    /// A block of a disk, by the disk's position in the offer.
    case disk(Int, block: UInt64)
    /// A page that was sent before, by its number among the pages that were sent as bytes.
    case sent(UInt64)
}
