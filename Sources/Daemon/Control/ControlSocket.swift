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
        let descriptor = try await pool.runIfActive { try Self.open(at: path, permissions) }
        do {
            channel = try await ServerBootstrap(group: group)
                .acceptingBareChannels()
                .bind(descriptor) { $0.eventLoop.makeSucceededFuture($0) }
        } catch {
            unlink(path)
            let reason = error.plainReason
            throw ControlError.cannotListen(path: path, reason: reason)
        }
        file = SocketFile(path: path)
    }

    /// Removes the socket's file, unless another server has put its own there since.
    func remove() { file.remove() }

    /// - Returns: The descriptor, which listens.
    static func open(at path: String, _ permissions: FilePermissions = FilePermissions()) throws -> CInt {
        do {
            return try UnixListener.open(at: path, permissions: permissions, isPrivate: true)
        } catch let error as ListenError {
            throw error.isInUse
                ? ControlError.taken(path: path) : ControlError.cannotListen(path: path, reason: error.reason)
        }
    }
}
