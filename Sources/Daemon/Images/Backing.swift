import Block
import Ring
import Site
import StorageDaemon

/// An open file, block device or NBD connection that holds a disk's bytes.
struct Backing: Sendable {
    let size: UInt64
    let isReadOnly: Bool
    let isRotational: Bool
    let device: BlockDevice
    /// Counts losses: changes that a remote server may have lost.
    let losses: LossCount
    /// The image, as migrations read and write it.
    let image: any DiskImage
    /// The helper that gives the image's contents; nil if the image needs none.
    private let daemon: StorageDaemon?

    /// The image, if it is a local file or block device that holds the disk's bytes as they are.
    var file: RawImage? { image as? RawImage }

    /// The image, if another server holds the disk.
    var remote: NBDDiskImage? { image as? NBDDiskImage }

    /// Wraps an open image.
    init(_ image: any DiskImage, isReadOnly: Bool, daemon: StorageDaemon? = nil) {
        self.image = image
        self.isReadOnly = isReadOnly || !image.isWritable
        self.daemon = daemon ?? (image as? NBDDiskImage)?.server as? StorageDaemon
        size = image.size
        isRotational = image.isRotational
        device = image.device
        losses = image.losses
    }

    /// Whether a helper gives the image's contents.
    var isHelped: Bool { daemon != nil }

    /// The right to serve a disk of the site; nil where the site does not keep it.
    var claim: DiskClaim? { daemon?.admission as? DiskClaim }

    /// The stamps of all files on which the disk's contents depend, as they are now, the image's first.
    /// - Returns: nil if one can't tell who has written to it, as a block device, or is not known.
    /// - Throws: `FileError`.
    func stamps() throws -> [ImageStamp]? {
        guard let file else { return try remote?.source?.stamps() }
        return file.isBlockDevice ? nil : [try file.stamp()]
    }

    /// Makes everything durable: a bitmap that is found again must not know of bytes that a helper or the host has lost.
    /// - Throws: as `DiskImage.synchronize`.
    func settle() async throws {
        try await BackingOpener.onThread { [image] in try image.synchronize() }
    }

    /// Stops waiting for a remote server.
    func stop() { remote?.stop() }

    /// Ends the helper. Nothing may use the backing any more.
    func end() async {
        guard let daemon else { return }
        try? await BackingOpener.onThread { daemon.stop() }
    }
}
