import Block
import MigrationProtocol

/// The image of a disk that is being copied here.
struct ReceivingDisk: Sendable {
    let image: any DiskImage
    /// The image holds blocks of an earlier attempt, or of an earlier life of the disk here.
    let hasBase: Bool
    /// The migration by which the image moved away from this node; nil for an image of the images directory.
    let movedBy: MigrationID?
    /// The place that the operator's command has printed; nil if none was asked.
    var place: TargetPlace?
    /// The image reads as zeros where nothing of the disk has been written.
    var isBlank = true
}
