import MigrationProtocol

/// A removal of a disk that does not come: of its records, and of its files, but for an image that is kept.
/// `ArrivalMachine.removalEnded` is told how it ends.
package struct ArrivalRemoval: Equatable, Sendable {
    package let migration: MigrationID
    package let keepsImage: Bool
    /// The disk is forgotten whatever becomes of its records, so that its files go even if these stay: what they hold may be
    /// damaged.
    package let isLast: Bool
}
