import Block
import BlockModel
import MigrationProtocol

/// A disk that a node has taken over, and is to serve.
public struct ReceivedDisk: Sendable {
    /// The export's name.
    public let export: String
    /// The image that holds its bytes, or will.
    public let image: any DiskImage
    /// The device that answers its clients.
    public let device: BlockDevice
    /// The map of the blocks that are in the image; nil if all are.
    public let map: DurablePresentMap?
    /// The disk under which clients have been answered already; nil if they have not.
    public let early: Disk?
    /// The migration by which the image had moved away from this node; nil if it never was here.
    public let supersedes: MigrationID?
    /// Whether it is an image that this node serves by its own configuration.
    public let isReturn: Bool
    /// Whether clients may not write to it; an image of the node's own is served as its configuration says.
    public let isReadOnly: Bool
    /// The dirty bitmap that has come with it; nil for none.
    public let bitmap: MovedBitmap?
}
