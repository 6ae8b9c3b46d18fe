import CLinux
import Glibc

/// Identifies the file behind an image, or behind its loop device, until the file system is unmounted. Unlike an
/// identity, it tells a file from its copy on a cloned file system.
public struct FileNumber: Hashable, Sendable {
    /// `st_dev` of the file.
    let device: UInt64
    /// `st_ino` of the file.
    let inode: UInt64

    /// Creates a number from its parts.
    public init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }

    /// Reads the number of an open image.
    /// - Returns: nil for a device that is not over a file.
    init?(of descriptor: CInt) {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { return nil }
        if info.st_mode & S_IFMT == S_IFREG {
            self.init(device: UInt64(info.st_dev), inode: UInt64(info.st_ino))
            return
        }
        var (device, inode): (UInt64, UInt64) = (0, 0)
        guard linux_loop_backing(descriptor, &device, &inode) == 0 else { return nil }
        self.init(device: device, inode: inode)
    }
}
