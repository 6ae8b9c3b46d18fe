import Block
import CLinux
import Glibc

/// Opens Unix sockets on which a server listens. At no moment another user can connect who may not.
package enum UnixListener {
    /// Binds a socket and listens; takes the place of a server that has ended. Blocks the thread while another server
    /// replaces a socket in the folder, at most 5 s.
    /// - Parameters:
    ///   - path: at most 107 bytes.
    ///   - isPrivate: whether only the owner may connect until the permissions are set; otherwise the umask decides.
    /// - Returns: the descriptor.
    /// - Throws: `ListenError`, with `isInUse` if somebody may be listening there; `FileError` for permissions that can't
    ///   be set.
    package static func open(at path: String, permissions: FilePermissions, isPrivate: Bool) throws -> CInt {
        let lock = SocketFolderLock(for: path)
        defer { lock.release() }
        let descriptor = try bind(path, isPrivate: isPrivate)
        do {
            try permissions.apply(toSocket: path)
        } catch {
            unlink(path)
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func bind(_ path: String, isPrivate: Bool) throws -> CInt {
        let address = ListenAddress.unix(path: path)
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: name.sun_path)
        guard path.utf8.count < capacity else {
            throw ListenError(address, "the path is longer than \(capacity - 1) bytes; choose a shorter one")
        }
        guard !path.isEmpty else { throw ListenError(address, "the path of the socket is empty") }
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw ListenError(address, code: errno) }
        do {
            // Linux creates the file with the socket's own mode, less the umask, so it is never more open than it shall
            // be.
            guard !isPrivate || fchmod(descriptor, 0o600) == 0 else { throw ListenError(address, code: errno) }
            try bind(descriptor, &name, address, path)
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func bind(
        _ descriptor: CInt, _ name: inout sockaddr_un, _ address: ListenAddress, _ path: String
    ) throws(ListenError) {
        if ListeningSocket.bindAndListen(descriptor, &name) { return }
        guard errno == EADDRINUSE else { throw ListenError(address, code: errno) }
        guard isSocket(path) else {
            throw ListenError(address, "the file is there and is no socket; choose another path")
        }
        guard !SocketFile.isOwn(at: path), isAbandoned(&name) else { throw ListenError(address, code: EADDRINUSE) }
        guard unlink(path) == 0, ListeningSocket.bindAndListen(descriptor, &name) else {
            throw ListenError(address, code: errno)
        }
    }

    /// Tells a socket from a disk image that was given by mistake: an image, too, refuses connections.
    private static func isSocket(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFSOCK
    }

    /// Whether the socket file was left behind by a server that has ended.
    private static func isAbandoned(_ name: inout sockaddr_un) -> Bool {
        // A server whose queue is full must not hold this one up.
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let probe = socket(AF_UNIX, type, 0)
        guard probe >= 0 else { return false }
        defer { close(probe) }
        let connected = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(probe, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // The kernel frees the ring of a killed process, and with it the socket, some time after the process is gone.
        return connected == 0 ? linux_listener_has_ended(probe) == 1 : errno == ECONNREFUSED
    }
}
