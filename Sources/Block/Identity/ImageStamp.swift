import Glibc

/// Tells an unchanged image from a rewritten one, by the data of `stat(2)`.
///
/// Equal stamps mean that nobody has written to the file, as far as time stamps can tell. They are a reason to skip
/// work, never a reason to trust bytes.
public struct ImageStamp: Codable, Hashable, Sendable {
    /// The device that holds the file, or the block device's own number.
    public let device: UInt64
    /// The inode; 0 for a block device.
    public let inode: UInt64
    /// Bytes.
    public let size: UInt64
    /// Nanoseconds since 1970 of the last change of the contents; 0 for a block device.
    public let modified: Int64

    /// Creates a stamp from its parts.
    public init(device: UInt64, inode: UInt64, size: UInt64, modified: Int64) {
        self.device = device
        self.inode = inode
        self.size = size
        self.modified = modified
    }
}

extension ImageStamp {
    /// Reads the stamp of an open file.
    /// - Parameter path: the file's name for messages.
    /// - Throws: `FileError`.
    init(ofFile descriptor: CInt, path: String) throws {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
        self.init(
            device: UInt64(info.st_dev), inode: UInt64(info.st_ino), size: UInt64(info.st_size),
            modified: Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec))
    }
}
