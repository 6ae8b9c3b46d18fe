import Glibc

/// Lets one server at a time replace or remove Unix sockets in a folder. Between two system calls of a server, another one
/// would take a new socket for that of a server that has ended, and remove it.
///
/// The lock is on the folder itself: it leaves no file behind, and the kernel drops it when the process ends. Any thread may
/// use it.
package struct SocketFolderLock: Sendable {
    /// Any user who may read the folder can lock it: a server then goes on without the lock.
    private static let patience = (attempts: 100, microseconds: 50_000 as useconds_t)

    /// nil if the folder can't be locked.
    private let descriptor: CInt?

    /// Takes the lock of the folder of `path`; `release` must follow. Blocks the thread while another server has it, at most
    /// 5 s.
    package init(for path: String) {
        descriptor = Self.lock(Self.folder(of: path))
    }

    /// Lets other servers go on.
    package func release() { if let descriptor { close(descriptor) } }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func lock(_ folder: String) -> CInt? {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        for attempt in 1... {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return descriptor }
            // Some file systems have no locks.
            guard errno == EWOULDBLOCK || errno == EINTR, attempt < patience.attempts else { break }
            usleep(patience.microseconds)
        }
        close(descriptor)
        return nil
    }
}
