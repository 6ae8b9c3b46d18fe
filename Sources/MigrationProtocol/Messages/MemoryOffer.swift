/// The disks of a guest whose memory is to cross.
public struct MemoryOffer: Sendable, Equatable {
    /// A disk that both nodes have, or will have.
    package enum Disk: Sendable, Equatable {
        /// It is moving, or has moved, by this migration.
        case migration(MigrationID)
        /// It is an export of the destination.
        case export(String)
    }

    /// The most disks of an offer.
    package static let maximumDisks = 32

    /// `MemoryBatch` names them by their position.
    package var disks: [Disk]

    package init(disks: [Disk]) {
        precondition(disks.count <= Self.maximumDisks)
        self.disks = disks
    }
}
