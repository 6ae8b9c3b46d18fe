import Block
import Glibc

/// Facts from `stat(2)` that tell one file or device from another.
struct ImageSighting: Equatable, Sendable {
    /// Whether it is a block device, which is known by its number, whatever the path of its node.
    var isBlockDevice: Bool
    /// Device number of the file system, or of the block device itself.
    var device: UInt64
    /// Inode number; 0 for a block device.
    var inode: UInt64

    init(isBlockDevice: Bool, device: UInt64, inode: UInt64) {
        self.isBlockDevice = isBlockDevice
        self.device = device
        self.inode = inode
    }

    private init(_ info: stat) {
        isBlockDevice = info.st_mode & S_IFMT == S_IFBLK
        device = UInt64(isBlockDevice ? info.st_rdev : info.st_dev)
        inode = isBlockDevice ? 0 : UInt64(info.st_ino)
    }

    /// Examines a path; symbolic links are followed.
    /// - Throws: `FileError`.
    init(path: String) throws {
        var info = stat()
        guard stat(path, &info) == 0 else { throw FileError("look at", path) }
        self.init(info)
    }

    /// Examines an open image.
    /// - Throws: `FileError`.
    init(of image: RawImage) throws {
        var info = stat()
        guard fstat(image.descriptor, &info) == 0 else { throw FileError("look at", image.path) }
        self.init(info)
    }
}
