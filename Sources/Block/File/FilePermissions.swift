import Glibc

/// Who may use a file or a socket that this node makes; what is nil stays as the system makes it.
public struct FilePermissions: Equatable, Sendable {
    /// Permission bits, up to 0777.
    public var mode: mode_t?
    /// Its number.
    public var group: gid_t?

    /// Those of a new file or socket.
    public init(mode: mode_t? = nil, group: gid_t? = nil) {
        self.mode = mode
        self.group = group
    }

    /// Gives them to an open file. The group comes first: no other group ever gets what the mode allows.
    /// - Throws: `FileError`.
    func apply(to descriptor: CInt, _ path: String) throws {
        if let group, fchown(descriptor, .max, group) != 0 { throw Self.failure(path, group) }
        if let mode, fchmod(descriptor, mode) != 0 { throw FileError("set the mode of", path) }
    }

    /// Gives them to a socket file.
    /// - Throws: `FileError`.
    public func apply(toSocket path: String) throws {
        if let group, lchown(path, .max, group) != 0 { throw Self.failure(path, group) }
        if let mode, chmod(path, mode) != 0 { throw FileError("set the mode of", path) }
    }

    private static func failure(_ path: String, _ group: gid_t) -> FileError {
        FileError("give group \(group), which takes root or a member of it, to", path)
    }

    /// Finds out, before there is anything to lose, whether files of a directory can have them.
    /// - Throws: `FileError`.
    public func check(in directory: String) throws {
        guard self != FilePermissions() else { return }
        var template = Array("\(directory)/.nearblock-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0, fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else {
            throw FileError("make a file in", directory)
        }
        defer {
            unlink(template)
            close(descriptor)
        }
        try apply(to: descriptor, "files in \(directory)")
    }
}
