import Block
import Ring

/// An open file, block device or NBD connection that holds a disk's bytes.
struct Backing: Sendable {
    let size: UInt64
    let isReadOnly: Bool
    let isRotational: Bool
    let device: BlockDevice
    /// Counts losses: changes that a remote server may have lost.
    let losses: LossCount
    /// The image, as migrations read and write it; nil if there is none.
    let image: (any DiskImage)?

    /// The image, if it is a local file or block device that holds the disk's bytes as they are.
    var file: RawImage? { image as? RawImage }

    /// Wraps an open image.
    init(_ image: any DiskImage, isReadOnly: Bool) {
        self.image = image
        self.isReadOnly = isReadOnly
        size = image.size
        isRotational = image.isRotational
        device = image.device
        losses = image.losses
    }

    private init(_ remote: NBDClientDevice, _ losses: LossCount, isReadOnly: Bool) {
        self.losses = losses
        image = nil
        self.isReadOnly = isReadOnly || remote.isReadOnly
        size = remote.size
        isRotational = remote.isRotational
        device = remote
    }

    /// Opens the backing of a configuration.
    /// - Throws: `FileError`, `NBDClientError` or `NodeError`; the message is one line.
    static func open(_ configuration: ExportConfiguration, loops: [EventLoop]) async throws -> Backing {
        if NBDClientImage.isURI(configuration.backing) {
            guard !configuration.isDirect else {
                throw NodeError.unusable("\(configuration.backing): direct is for files and block devices only")
            }
            guard configuration.size == nil else {
                throw NodeError.unusable("\(configuration.backing): a size is for files and block devices only")
            }
            let losses = LossCount()
            let remote = try await NBDClientDevice.open(uri: configuration.backing, loops: loops, losses: losses)
            return Backing(remote, losses, isReadOnly: configuration.isReadOnly)
        }
        let image = try RawImage(
            path: configuration.backing, access: configuration.isReadOnly ? .readOnly : .readWrite,
            isDirect: configuration.isDirect, givenName: configuration.identity, size: configuration.size,
            makesMissing: true)
        return Backing(image, isReadOnly: configuration.isReadOnly)
    }

    /// Stops waiting for a remote server.
    func stop() {
        (device as? NBDClientDevice)?.stop()
    }
}
