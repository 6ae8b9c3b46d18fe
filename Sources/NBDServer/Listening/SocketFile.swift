import Glibc
import NIOConcurrencyHelpers

/// The file of a Unix socket that this process has bound, and on which it listens until `remove`.
package struct SocketFile: Sendable {
    private struct Number: Hashable {
        let device: dev_t
        let inode: ino_t
    }

    /// Those of this process.
    private static let own = NIOLockedValueBox<Set<Number>>([])

    private let path: String
    private let number: Number?

    /// Describes the file that stands at `path` now, which a server of this process has bound.
    package init(path: String) {
        self.path = path
        let number = Self.number(of: path)
        self.number = number
        if let number { Self.own.withLockedValue { _ = $0.insert(number) } }
    }

    /// Whether this process listens on the socket whose file stands at `path`. To connect would tell as well, and would be
    /// taken for a client.
    static func isOwn(at path: String) -> Bool {
        number(of: path).map { number in own.withLockedValue { $0.contains(number) } } ?? false
    }

    /// Removes the file, unless another server has put its own there since. Blocks the thread while a server replaces a
    /// socket in that folder, at most 5 s.
    package func remove() {
        let lock = SocketFolderLock(for: path)
        defer { lock.release() }
        guard let number else { return }
        if Self.number(of: path) == number { unlink(path) }
        Self.own.withLockedValue { _ = $0.remove(number) }
    }

    private static func number(of path: String) -> Number? {
        var info = stat()
        return lstat(path, &info) == 0 ? Number(device: info.st_dev, inode: info.st_ino) : nil
    }
}
