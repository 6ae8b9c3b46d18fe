import Glibc
import MigrationProtocol

/// The folder of the sockets on which hypervisors of this node wait for the memory of a guest, as NAME.sock.
///
/// A peer says the name. The folder must belong to this process's user or to root, and nobody else may write to it.
public struct MemoryDirectory: Sendable {
    /// Absolute or relative; as the operator gave it.
    public let path: String

    /// Checks the folder.
    /// - Throws: `MigrationError.refused` with the reason, for the operator.
    public init(path: String) throws {
        self.path = path
        var info = stat()
        guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw MigrationError.refused(
                "\(path) is no folder; make it, and let nobody but this node's user write to it")
        }
        let isOwn = info.st_uid == geteuid() || info.st_uid == 0
        guard isOwn, info.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
            throw MigrationError.refused(
                "others may write to \(path), and could put themselves in a hypervisor's place: chmod go-w, or chown it"
            )
        }
    }

    /// Connects to the hypervisor that waits for a guest.
    /// - Parameter name: as the peer says it.
    /// - Returns: the descriptor, which the caller closes.
    /// - Throws: `MigrationError.refused` with the reason, for the peer.
    func connect(_ name: String) throws -> CInt {
        if let problem = ExportName.problem(with: name) {
            throw MigrationError.refused("of the guest's name: \(problem)")
        }
        let folder = open(path, O_DIRECTORY | O_CLOEXEC | O_RDONLY)
        guard folder >= 0 else { throw MigrationError.refused("its folder of hypervisors is gone") }
        defer { close(folder) }
        let file = "\(name).sock"
        var info = stat()
        guard fstatat(folder, file, &info, AT_SYMLINK_NOFOLLOW) == 0, info.st_mode & S_IFMT == S_IFSOCK else {
            throw MigrationError.refused("no hypervisor waits there for the memory of '\(name)'; start it first")
        }
        return try Self.connect("/proc/self/fd/\(folder)/\(file)", name)
    }

    /// The path by way of the descriptor is short, and stays in the folder that was checked.
    private static func connect(_ path: String, _ name: String) throws -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < capacity else {
            throw MigrationError.refused("the guest's name is too long for a socket")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, kind, 0)
        guard descriptor >= 0 else { throw MigrationError.refused("it has no descriptor for the hypervisor's socket") }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw MigrationError.refused("the hypervisor of '\(name)' does not answer there: \(reason)")
        }
        return descriptor
    }
}
