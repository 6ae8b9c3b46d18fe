import Block
import BlockModel
import MigrationProtocol
import Peer
import PeerModel

/// The commit record: the disk is another node's now. Once it is durable there is no way back (invariant 5).
public struct MovedRecord: Codable, Sendable {
    /// The export's name.
    public let export: String
    /// The image that has moved, whatever was done to it since; nil in records of earlier releases.
    var image: RecordedImage?
    /// For earlier releases, which know the image by these two.
    let inode: UInt64
    let birthTime: Int64?
    /// The migration by which it moved.
    public let migration: MigrationID
    /// The node that has the disk, or forwards to the one that has it.
    public internal(set) var destination: PeerAddress
    /// The node that it was handed to, if that has moved it on and this node knows where to.
    var handedTo: PeerAddress?
    /// The root at the switchover.
    let root: String
    /// Bytes of the blocks that the destination may still ask for; nil once it has everything.
    var blockSize: Int?
    /// The places at which its blocks begin besides the start of the disk; nil for nowhere, and in records of earlier releases.
    private(set) var origins: [UInt64]?
    /// The rate limit, bits/s; nil for no limit.
    public internal(set) var rate: UInt64?
    /// The group with which it moved: the record counts only if the group's common commit record was written.
    var group: MigrationID?

    init(
        export: String, image: any DiskImage, migration: MigrationID, destination: PeerAddress, root: String
    ) throws {
        self.export = export
        let image = try RecordedImage(image)
        self.image = image
        (inode, birthTime) = image.legacyFile
        self.migration = migration
        self.destination = destination
        self.root = root
    }

    /// Bytes of the disk as it moved; nil in records of earlier releases.
    public var size: UInt64? { image?.identity?.size }

    /// Whether its numbers can be those of a disk: a file may say anything.
    var isPossible: Bool {
        BlockGeometry(
            size: size ?? 1, blockSize: blockSize ?? BlockGeometry.standardBlockSize,
            origins: size == nil ? [] : origins ?? []) != nil
    }

    /// The blocks that the destination may still ask for; nil once it has everything.
    /// - Parameter size: bytes of the disk.
    func blocks(ofDisk size: UInt64) -> BlockGeometry? {
        blockSize.flatMap { BlockGeometry(size: size, blockSize: $0, origins: origins ?? []) }
    }

    /// The destination may still ask for blocks.
    mutating func setBlocks(_ geometry: BlockGeometry) {
        blockSize = geometry.blockSize
        origins = geometry.layout?.origins
    }

    /// Whether the destination needs nothing of the image any more.
    public var isReleased: Bool { blockSize == nil }
}
