import Foundation
import Glibc

/// The directory of a control socket.
public enum ControlDirectory {
    /// Makes the directory of a socket where there is none; for its owner only where others could make it too.
    static func make(for socket: String) {
        let directory = directory(of: socket)
        try? FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true,
            attributes: isOpenToOthers(parent: directory) ? [.posixPermissions: 0o700] : nil)
    }

    private static func directory(of socket: String) -> String {
        // Foundation's NSString does not survive a name of one letter here.
        URL(fileURLWithPath: socket).deletingLastPathComponent().path
    }

    /// Whether others may make directories beside this one, as in /tmp.
    private static func isOpenToOthers(parent directory: String) -> Bool {
        var info = stat()
        return stat(URL(fileURLWithPath: directory).deletingLastPathComponent().path, &info) == 0
            && info.st_mode & 0o022 != 0
    }

    /// Makes certain that nobody else can put a socket into the directory of a default control socket: in /tmp others can make
    /// a directory of that name first. What others may only look into there is closed to them.
    /// - Throws: `ControlError.foreign`. A directory that is not there is no error.
    public static func secure(for socket: String) throws {
        let directory = directory(of: socket)
        guard isOpenToOthers(parent: directory) else { return }
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return }
            let reason = errno == ELOOP || errno == ENOTDIR ? "it is no directory" : String(cString: strerror(errno))
            throw ControlError.foreign(directory: directory, reason: reason)
        }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_uid == geteuid() else {
            throw ControlError.foreign(directory: directory, reason: "it is another user's")
        }
        guard info.st_mode & 0o022 == 0 else {
            throw ControlError.foreign(directory: directory, reason: "others may write to it")
        }
        guard info.st_mode & 0o077 == 0 || fchmod(descriptor, 0o700) == 0 else {
            throw ControlError.foreign(directory: directory, reason: "others may look into it")
        }
    }
}
