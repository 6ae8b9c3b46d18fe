import Glibc

/// The file of a Unix socket that this server has bound.
package struct SocketFile: Sendable {
    private let path: String
    private let device: dev_t
    private let inode: ino_t

    /// Describes the file that stands at `path` now, which a server of this process has bound.
    package init(path: String) {
        self.path = path
        (device, inode) = Self.number(of: path) ?? (0, 0)
    }

    /// Removes the file, unless another server has put its own there since. Blocks the thread while a server replaces a
    /// socket in that folder, at most 5 s.
    package func remove() {
        let lock = SocketFolderLock(for: path)
        defer { lock.release() }
        if let number = Self.number(of: path), number == (device, inode) { unlink(path) }
    }

    private static func number(of path: String) -> (dev_t, ino_t)? {
        var info = stat()
        return lstat(path, &info) == 0 ? (info.st_dev, info.st_ino) : nil
    }
}
