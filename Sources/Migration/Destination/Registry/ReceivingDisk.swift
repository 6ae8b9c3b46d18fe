import Block
import MigrationProtocol

/// The image of a disk that is being copied here.
struct ReceivingDisk: Sendable {
    let image: RawImage
    /// The image holds blocks of an earlier attempt, or of an earlier life of the disk here.
    let hasBase: Bool
    /// The migration by which the image moved away from this node; nil for an image of the images directory.
    let movedBy: MigrationID?
    /// How far it is.
    let progress = ArrivalProgress()
}
