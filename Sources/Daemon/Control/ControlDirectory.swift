import Foundation
import Glibc

/// Directory of a control socket.
public enum ControlDirectory {
    /// Creates the directory of a socket if it is missing; only for its owner if other users could create it too.
    static func make(for socket: String) {
        let directory = directory(of: socket)
        try? FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true,
            attributes: isOpenToOthers(parent: directory) ? [.posixPermissions: 0o700] : nil)
    }

    private static func directory(of socket: String) -> String {
        // NSString's path functions crash here on a name of one letter.
        URL(fileURLWithPath: socket).deletingLastPathComponent().path
    }

    /// Returns whether other users may create directories beside this one, as in /tmp.
    private static func isOpenToOthers(parent directory: String) -> Bool {
        var info = stat()
        return stat(URL(fileURLWithPath: directory).deletingLastPathComponent().path, &info) == 0
            && info.st_mode & 0o022 != 0
    }

    /// Ensures that no other user can put a socket into the directory of a default control socket. In /tmp, another
    /// user can create that directory first. Removes other users' access to a directory that they may only read.
    /// - Throws: `ControlError.foreign`. A missing directory is no error.
    public static func secure(for socket: String) throws {
        let directory = directory(of: socket)
        guard isOpenToOthers(parent: directory) else { return }
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return }
            let reason = errno == ELOOP || errno == ENOTDIR ? "it is not a directory" : String(cString: strerror(errno))
            throw ControlError.foreign(directory: directory, reason: reason)
        }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_uid == geteuid() else {
            throw ControlError.foreign(directory: directory, reason: "it belongs to another user")
        }
        guard info.st_mode & 0o022 == 0 else {
            throw ControlError.foreign(directory: directory, reason: "others may write to it")
        }
        guard info.st_mode & 0o077 == 0 || fchmod(descriptor, 0o700) == 0 else {
            throw ControlError.foreign(directory: directory, reason: "others may look into it")
        }
    }
}
