import Block

/// The image that a record is about: its identity, and the path at which it was last seen.
public struct RecordedImage: Codable, Equatable, Sendable {
    /// The identity; nil only for a device that nothing told from others.
    public var identity: ImageIdentity?
    /// The absolute path as it was configured; nil once the operator has said that another image stands there.
    public var path: String?
    /// The same path without symbolic links; nil where it leads to no file. A device's links lead elsewhere after the
    /// next start.
    public var realPath: String?

    init(identity: ImageIdentity?, path: String?, realPath: String? = nil) {
        self.identity = identity
        self.path = path
        self.realPath = realPath
    }

    /// An image as it is now.
    init(_ image: any DiskImage) throws {
        self.init(try image.identity(), at: image.path, isFile: image.isFile)
    }

    /// An image that stands at a path or URI.
    init(_ identity: ImageIdentity?, at path: String, isFile: Bool) {
        self.identity = identity
        self.path = ImagePath.absolute(path)
        realPath = isFile ? StateDirectory.realPath(path) : nil
    }

    /// Inode and birth time of a file, by which earlier releases know an image; 0 and nil for a device.
    var legacyFile: (inode: UInt64, birthTime: Int64?) {
        guard identity?.device == nil, let file = identity?.file else { return (0, nil) }
        return (file.inode, file.birthTime)
    }

    /// Whether both were seen at one path.
    func stoodAtSamePath(as other: RecordedImage) -> Bool {
        (path != nil && path == other.path) || (path != nil && realPath != nil && realPath == other.realPath)
    }
}
