import Block
import Ring

/// What holds a disk's bytes, open.
struct Backing: Sendable {
    let size: UInt64
    let isReadOnly: Bool
    let isRotational: Bool
    let device: BlockDevice
    /// Counts changes that the server which holds the disk may have lost.
    let losses: LossCount
    /// The file or block device; nil where another server holds the disk.
    let image: RawImage?

    /// A raw image that is open already.
    init(_ image: RawImage, isReadOnly: Bool) {
        self.image = image
        self.isReadOnly = isReadOnly
        size = image.size
        isRotational = image.isRotational
        device = FileDevice(image: image)
        losses = LossCount()
    }

    private init(_ remote: RemoteDevice, _ losses: LossCount, isReadOnly: Bool) {
        self.losses = losses
        image = nil
        self.isReadOnly = isReadOnly || remote.isReadOnly
        size = remote.size
        isRotational = remote.isRotational
        device = remote
    }

    /// Opens what a configuration names.
    /// - Throws: in one line, what can't be opened.
    static func open(_ configuration: ExportConfiguration, loops: [EventLoop]) async throws -> Backing {
        if RemoteImage.isURI(configuration.backing) {
            guard !configuration.isDirect else {
                throw NodeError.unusable("\(configuration.backing): direct is for files and block devices only")
            }
            guard configuration.size == nil else {
                throw NodeError.unusable("\(configuration.backing): a size is for files and block devices only")
            }
            let losses = LossCount()
            let remote = try await RemoteDevice.open(uri: configuration.backing, loops: loops, losses: losses)
            return Backing(remote, losses, isReadOnly: configuration.isReadOnly)
        }
        let image = try RawImage(
            path: configuration.backing, access: configuration.isReadOnly ? .readOnly : .readWrite,
            isDirect: configuration.isDirect, givenName: configuration.identity, size: configuration.size,
            makesMissing: true)
        return Backing(image, isReadOnly: configuration.isReadOnly)
    }

    /// Waits no longer for a server that holds the disk.
    func stop() {
        (device as? RemoteDevice)?.stop()
    }
}
