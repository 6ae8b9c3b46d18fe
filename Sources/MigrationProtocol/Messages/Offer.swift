import BlockModel

/// The disk that is to move.
public struct Offer: Sendable, Equatable {
    package var migration: MigrationID
    /// Earlier attempts that the source has certainly given up; the destination may remove what is left of them.
    package var abandoned: [MigrationID]
    package var export: String
    package var size: UInt64
    package var blockSize: UInt32
    /// Domains of the neighbours that may be drawn on; empty for all.
    package var domains: [String] = []
    /// Present only if both sides have `offerDetails`.
    package var details: OfferDetails?

    package init(
        migration: MigrationID, abandoned: [MigrationID], export: String, size: UInt64, blockSize: UInt32,
        domains: [String] = [], details: OfferDetails? = nil
    ) {
        self.migration = migration
        self.abandoned = abandoned
        self.export = export
        self.size = size
        self.blockSize = blockSize
        self.domains = domains
        self.details = details
    }

    /// Whether clients may not write to the disk.
    package var isReadOnly: Bool { details?.isReadOnly ?? false }

    /// The disk's blocks; nil if the numbers can't be those of a disk.
    package var geometry: BlockGeometry? {
        BlockGeometry(size: size, blockSize: Int(blockSize), origins: details?.origins ?? [])
    }
}
