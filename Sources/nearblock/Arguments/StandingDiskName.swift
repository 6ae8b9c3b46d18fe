import Block
import StorageDaemon

/// A disk as an operator names it for the records of a node: what tells it from others, without serving it.
struct StandingDiskName {
    /// The identity; nil if nothing tells the disk from others. Its size is 0 if only a server could tell it.
    let identity: ImageIdentity?
    /// Whether the disk is a file of this host.
    let isFile: Bool

    /// - Parameters:
    ///   - image: a path, an NBD URI or an image specification of QEMU.
    ///   - format: the format of the disk in a file; nil for raw.
    ///   - name: the operator's name for the disk; nil if there is none.
    /// - Throws: `FileError`.
    init(_ image: String, format: String?, identity name: String? = nil) throws {
        if NBDClientImage.isURI(image) || ImageSpecification.isNeeded(for: image, format: nil) {
            identity = name.map { ImageIdentity(device: DeviceIdentity([.named: $0]), size: 0) }
            isFile = false
        } else if let format, ImageSpecification.isNeeded(for: image, format: format) {
            let file = try FormattedFile(path: image, format: format)
            identity = try file.identity(size: 0, name: name)
            isFile = file.isFile
        } else {
            let file = try RawImage(path: image, access: .readOnly, givenName: name)
            identity = try file.identity()
            isFile = file.isFile
        }
    }
}
