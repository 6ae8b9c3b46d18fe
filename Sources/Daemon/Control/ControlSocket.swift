import Block
import Glibc
import NBDServer
import NIOCore
import NIOPosix
import Peer

/// A Unix socket of a node's own on which it listens: for commands, or for a guest's memory. At no moment another user can
/// connect who may not.
struct ControlSocket: Sendable {
    /// Gives what connects. Once made, it must be run.
    let channel: NIOAsyncChannel<any Channel, Never>
    private let file: SocketFile

    /// Binds a socket and listens.
    /// - Parameters:
    ///   - permissions: By default only the owner may connect.
    ///   - pool: Waits there for other servers that replace a socket in the folder.
    /// - Throws: `ControlError`, with `taken` if somebody listens there; `FileError` for permissions that can't be set.
    init(
        at path: String, permissions: FilePermissions = FilePermissions(), group: any EventLoopGroup,
        pool: NIOThreadPool
    ) async throws {
        let lock = try await pool.runIfActive { SocketFolderLock(for: path) }
        defer { lock.release() }
        if await Self.answers(path, group) { throw ControlError.taken(path: path) }
        let descriptor = try Self.bind(path)
        do { try permissions.apply(toSocket: path) } catch {
            unlink(path)
            close(descriptor)
            throw error
        }
        do {
            channel = try await ServerBootstrap(group: group)
                .acceptingBareChannels()
                .bind(descriptor) { $0.eventLoop.makeSucceededFuture($0) }
        } catch {
            unlink(path)
            let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
            throw ControlError.cannotListen(path: path, reason: reason)
        }
        file = SocketFile(path: path)
    }

    /// Removes the socket's file, unless another server has put its own there since.
    func remove() { file.remove() }

    /// Returns whether a node listens there now; a socket file alone may be a leftover.
    private static func answers(_ path: String, _ group: any EventLoopGroup) async -> Bool {
        let channel = try? await ClientBootstrap(group: group).connect(unixDomainSocketPath: path).get()
        try? await channel?.close()
        return channel != nil
    }

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
