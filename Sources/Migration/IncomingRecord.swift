import Block

/// The destination's note of a disk that has been prepared here, or more.
public struct IncomingRecord: Codable, Sendable {
    /// How far it has come.
    public enum Phase: String, Codable, Sendable {
        /// What is to be here before the hand-over is here and durable; only the source's word is missing.
        case prepared
        /// It is served here.
        case active
    }

    /// How far it has come.
    public var phase: Phase
    /// The migration by which it came.
    public let migration: MigrationID
    /// The export's name.
    public let export: String
    /// Bytes.
    public let size: UInt64
    /// The root at the switchover.
    let root: String
    /// Bytes of a block, where blocks were missing at the switchover; nil where none was.
    var blockSize: Int?
    /// Where the blocks came from that were missing at the switchover, once all have come.
    var arrived: Ledger?
    /// The image that was here already and was brought up to date; nil for one of the images directory.
    var imagePath: String?
    /// The migration by which that image had moved away.
    var supersedes: MigrationID?
    /// The inode of the image's file when it was taken over: another file in its place is not the disk.
    var inode: UInt64?
    /// Clients may not write to it; nil for no.
    var isReadOnly: Bool?

    /// Migrations by which the disk came here in earlier lives, the latest first: their sources may forward here.
    var earlier: [MigrationID]?

    /// Older lives than these are forgotten.
    static let maximumEarlier = 64

    /// Whether the disk comes back into an image that was here already, and nothing of that has happened yet.
    var isReturning: Bool { imagePath != nil && phase == .prepared }

    /// Whether blocks may still be only at the source.
    var needsSource: Bool { blockSize != nil && arrived == nil }

    /// The image as clients are to have it: nobody is kept off a read-only one by a writer's lock.
    func served(_ image: RawImage) throws -> RawImage {
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
    }
}
