import MigrationProtocol

/// The parts of a source's offer that decide whether its disk is taken in.
package struct ArrivalOffer: Equatable, Sendable {
    package let migration: MigrationID
    /// Earlier attempts that the source has given up for certain.
    package let abandoned: [MigrationID]
    package let export: String
    /// Bytes.
    package let size: UInt64
    package let blocks: UInt64

    /// - Parameter offer: its block size is 1 or more.
    package init(_ offer: Offer) {
        migration = offer.migration
        abandoned = offer.abandoned
        export = offer.export
        size = offer.size
        blocks = offer.geometry?.blockCount ?? (offer.size + UInt64(offer.blockSize) - 1) / UInt64(offer.blockSize)
    }
}
