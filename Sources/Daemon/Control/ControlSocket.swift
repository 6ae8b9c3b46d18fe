import Glibc

/// Creates a node's control socket so that at no moment another user can connect.
enum ControlSocket {
    /// Binds a socket, and replaces a socket file at that path. Only while its folder is locked.
    /// - Returns: The descriptor, which does not listen yet.
    /// - Throws: `ControlError.cannotListen`.
    static func bind(_ path: String) throws(ControlError) -> CInt {
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: name.sun_path)
        guard !path.isEmpty, path.utf8.count < capacity else {
            throw .cannotListen(path: path, reason: "a socket's path has 1 to \(capacity - 1) bytes")
        }
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(
            AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw failure(path) }
        do throws(ControlError) {
            // Linux creates the file with the socket's mode, less the umask, so it is never open to others.
            guard fchmod(descriptor, 0o600) == 0 else { throw failure(path) }
            try removeSocket(path)
            let bound = withUnsafePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            guard bound == 0 else { throw failure(path) }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Removes the socket file of a node that has ended.
    private static func removeSocket(_ path: String) throws(ControlError) {
        var info = stat()
        guard lstat(path, &info) == 0 else { return }
        guard info.st_mode & S_IFMT == S_IFSOCK else {
            throw .cannotListen(path: path, reason: "the file exists and is not a socket")
        }
        guard unlink(path) == 0 || errno == ENOENT else { throw failure(path) }
    }

    private static func failure(_ path: String) -> ControlError {
        .cannotListen(path: path, reason: String(cString: strerror(errno)))
    }
}
