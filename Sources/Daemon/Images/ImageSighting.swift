import Block
import Glibc

/// What `stat(2)` says of who a file or device is.
struct ImageSighting: Equatable, Sendable {
    /// A block device is known by its number, whichever node leads to it.
    var isBlockDevice: Bool
    /// The file system, or the number of the block device.
    var device: UInt64
    /// 0 for a block device.
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

    /// What stands at a path; symbolic links are followed.
    /// - Throws: `FileError`.
    init(path: String) throws {
        var info = stat()
        guard stat(path, &info) == 0 else { throw FileError("look at", path) }
        self.init(info)
    }

    /// What is open.
    /// - Throws: `FileError`.
    init(of image: RawImage) throws {
        var info = stat()
        guard fstat(image.descriptor, &info) == 0 else { throw FileError("look at", image.path) }
        self.init(info)
    }
}
