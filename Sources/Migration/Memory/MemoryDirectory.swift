import Glibc
import MigrationProtocol

/// The folder of the sockets on which hypervisors of this node wait for the memory of a guest, as NAME.sock.
///
/// A peer says the name. The folder must belong to this process's user or to root, and nobody else may write to it.
public struct MemoryDirectory: Sendable {
    /// Absolute or relative; as the operator gave it.
    public let path: String

    /// Checks the folder.
    /// - Throws: `MigrationError.impossibleHere` with the reason, for the operator.
    public init(path: String) throws {
        self.path = path
        var info = stat()
        guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw MigrationError.impossibleHere(
                "--memory-dir: \(path) is no folder; make it, and let nobody but this node's user write to it")
        }
        guard Self.isSafe(info) else {
            throw MigrationError.impossibleHere(
                "--memory-dir: others may write to \(path), and could put themselves in a hypervisor's place: chmod go-w, or chown it"
            )
        }
    }

    /// Whether only this process's user or root may put anything into a folder.
    private static func isSafe(_ info: stat) -> Bool {
        (info.st_uid == geteuid() || info.st_uid == 0) && info.st_mode & (S_IWGRP | S_IWOTH) == 0
    }

    /// Calls `connect` with the path of the socket on which the hypervisor of a guest waits. By way of a descriptor, the path is
    /// short, and stays in the folder that was looked at.
    /// - Parameter name: as the peer says it.
    /// - Throws: `MigrationError.refused` with the reason, for the peer; the error of `connect`.
    func withSocket<Result>(of name: String, _ connect: (String) async throws -> Result) async throws -> Result {
        if let problem = ExportName.problem(with: name) {
            throw MigrationError.refused("of the guest's name: \(problem)")
        }
        let folder = open(path, O_DIRECTORY | O_CLOEXEC | O_RDONLY)
        guard folder >= 0 else { throw MigrationError.refused("its folder of hypervisors is gone") }
        defer { close(folder) }
        let file = "\(name).sock"
        var info = stat()
        // Another folder may have taken its place since the start.
        guard fstat(folder, &info) == 0, Self.isSafe(info) else {
            throw MigrationError.refused("others may write to its folder of hypervisors")
        }
        guard fstatat(folder, file, &info, AT_SYMLINK_NOFOLLOW) == 0, info.st_mode & S_IFMT == S_IFSOCK else {
            throw MigrationError.refused("no hypervisor waits there for the memory of '\(name)'; start it first")
        }
        return try await connect("/proc/self/fd/\(folder)/\(file)")
    }
}
