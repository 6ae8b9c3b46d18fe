import Block

/// An image of this node that has moved away, of which the other node needs nothing any more: a disk of its name may
/// come back into it.
public struct ImageBase: Sendable {
    let image: RawImage
    let movedBy: MigrationID

    /// An image that moved by a migration.
    public init(image: RawImage, movedBy: MigrationID) {
        self.image = image
        self.movedBy = movedBy
    }
}
