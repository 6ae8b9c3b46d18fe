import Block
import BlockModel
import MigrationProtocol

/// The destination's record of a disk that has been prepared here, and may be active or whole.
public struct IncomingRecord: Codable, Sendable {
    /// The progress of a disk.
    public enum Phase: String, Codable, Sendable {
        /// All blocks that come before the switchover are here and durable; only the source's commit is missing.
        case prepared
        /// It is served here.
        case active
    }

    /// The progress of the disk.
    public var phase: Phase
    /// The migration by which it came.
    public let migration: MigrationID
    /// The export's name.
    public let export: String
    /// Bytes.
    public let size: UInt64
    /// The root at the switchover.
    let root: String
    /// Bytes of a block, if blocks were missing at the switchover; nil if none was.
    var blockSize: Int?
    /// The places at which its blocks begin besides the start of the disk; nil for nowhere, and in records of earlier releases.
    private(set) var origins: [UInt64]?
    /// The origins of the blocks that were missing at the switchover; nil until all have come.
    var arrived: Ledger?
    /// The image that was here already and was brought up to date; nil for one of the images directory.
    var imagePath: String?
    /// The migration by which that image had moved away.
    var supersedes: MigrationID?
    /// The image into which the disk came: another one in its place is not the disk. nil in records of earlier releases.
    var image: RecordedImage?
    /// For earlier releases, which know the image by this.
    var inode: UInt64?
    /// The place that the operator's command has printed for it; nil for the images directory.
    var place: String?
    /// Clients may not write to it; nil for no.
    var isReadOnly: Bool?
    /// The name of the dirty bitmap that has come with it; nil for none, and in records of earlier releases.
    var bitmap: String?
    /// The domains whose neighbours it may draw on; nil for all, and in records of earlier releases.
    var domains: [String]?

    /// Migrations by which the disk came here in earlier lives, the latest first: their sources may forward here.
    var earlier: [MigrationID]?

    /// Migrations by which other nodes know the disk that forwarded to the one it came from: they may forward here.
    var aliases: [MigrationID]?

    /// Older lives than these are forgotten.
    private static let maximumEarlier = 64

    /// Whether the disk has come, or comes, into an image that was here already.
    public var isReturn: Bool { imagePath != nil }

    /// The migrations by which sources may forward here.
    var known: [MigrationID] { [migration] + (earlier ?? []) + (aliases ?? []) }

    /// Whether the disk comes back into an image that was here already, and nothing of that has happened yet.
    var isReturning: Bool { imagePath != nil && phase == .prepared }

    /// Whether blocks may still be only at the source.
    var needsSource: Bool { blockSize != nil && arrived == nil }

    /// The blocks of a disk of which some were missing at the switchover; nil if none was, or the numbers are not a disk's.
    var blocks: BlockGeometry? {
        blockSize.flatMap { BlockGeometry(size: size, blockSize: $0, origins: origins ?? []) }
    }

    /// Blocks are missing at the switchover.
    mutating func setBlocks(_ geometry: BlockGeometry) {
        blockSize = geometry.blockSize
        origins = geometry.layout?.origins
    }

    /// Whether the disk came into an image that stood where this one stands.
    func stood(atPathOf now: RecordedImage) -> Bool {
        let then = image ?? RecordedImage(identity: nil, path: imagePath.map(ImagePath.absolute), realPath: imagePath)
        return then.stoodAtSamePath(as: now)
    }

    /// Whether the record's image stood where another one stands now, or is the same file seen another way.
    func isInDoubt(about now: RecordedImage, elsewhere: [ImageIdentity]) -> Bool {
        if let known = image?.identity, let identity = now.identity, known.sharesFile(with: identity) { return true }
        return stood(atPathOf: now) && !isSeen(among: elsewhere)
    }

    /// Whether the image is one of these.
    func isSeen(among images: [ImageIdentity]) -> Bool {
        image?.identity.map { identity in images.contains { $0.isSame(as: identity) } } ?? false
    }

    /// Whether anything tells the image from others.
    var knowsImage: Bool { image?.identity != nil || inode != nil }

    /// Whether the disk came into the very image that is open here.
    /// - Throws: `FileError`.
    func isAbout(_ image: any DiskImage) throws -> Bool {
        if let known = self.image?.identity, let identity = try image.identity() { return known.isSame(as: identity) }
        // A device's inode is 0, which would be any device's. The first releases recorded nothing at all.
        guard let file = try image.identity()?.file, image.isFile else { return false }
        return inode == nil || file.inode == inode
    }

    /// The image as it is served: without a writer's lock if it is read-only, so that other programs may read it.
    func served(_ image: any DiskImage) throws -> any DiskImage {
        isReadOnly == true && image.isWritable ? try image.reopened(for: .readOnly) : image
    }

    init(phase: Phase, migration: MigrationID, export: String, size: UInt64, root: String) {
        self.phase = phase
        self.migration = migration
        self.export = export
        self.size = size
        self.root = root
    }

    /// The record of a disk that is as it was offered.
    init(prepared offer: Offer, root: DiskRoot) {
        self.init(
            phase: .prepared, migration: offer.migration, export: offer.export, size: offer.size,
            root: root.description)
        isReadOnly = offer.isReadOnly ? true : nil
        domains = offer.domains.isEmpty ? nil : offer.domains
    }

    /// The disk comes back into an image that was here already. Who forwarded here to its earlier lives may do so again.
    /// - Parameters:
    ///   - movedBy: the migration by which that image moved away.
    ///   - last: the record of its last life here; nil if there is none.
    mutating func comeBack(into imagePath: String, movedBy: MigrationID, last: IncomingRecord?) {
        self.imagePath = imagePath
        supersedes = movedBy
        place = last?.place
        guard let last else { return }
        earlier = Array(([last.migration] + (last.earlier ?? [])).prefix(Self.maximumEarlier))
        aliases = last.aliases
    }
}
