import Glibc

/// The file of a Unix socket that this server has bound.
struct SocketFile: Sendable {
    private let path: String
    private let device: dev_t
    private let inode: ino_t

    /// Describes the file that stands at `path` now.
    init(path: String) {
        self.path = path
        (device, inode) = Self.number(of: path) ?? (0, 0)
    }

    /// Removes the file, unless another server has put its own there since.
    func remove() {
        if let number = Self.number(of: path), number == (device, inode) { unlink(path) }
    }

    private static func number(of path: String) -> (dev_t, ino_t)? {
        var info = stat()
        return lstat(path, &info) == 0 ? (info.st_dev, info.st_ino) : nil
    }
}
