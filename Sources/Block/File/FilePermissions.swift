import Glibc

/// The permissions of a file or socket that this node creates; a value of nil keeps the system's default.
public struct FilePermissions: Equatable, Sendable {
    /// Permission bits, up to 0777.
    public var mode: mode_t?
    /// The number of the group.
    public var group: gid_t?

    /// Creates permissions for new files or sockets.
    public init(mode: mode_t? = nil, group: gid_t? = nil) {
        self.mode = mode
        self.group = group
    }

    /// Sets the permissions of an open file. The group is set first, so that no other group gets the mode's rights.
    /// - Throws: `FileError`.
    func apply(to descriptor: CInt, _ path: String) throws {
        if let group, fchown(descriptor, .max, group) != 0 { throw Self.failure(path, group) }
        if let mode, fchmod(descriptor, mode) != 0 { throw FileError("set the mode of", path) }
    }

    /// Sets the permissions of a socket file.
    /// - Throws: `FileError`.
    public func apply(toSocket path: String) throws {
        if let group, lchown(path, .max, group) != 0 { throw Self.failure(path, group) }
        if let mode, chmod(path, mode) != 0 { throw FileError("set the mode of", path) }
    }

    private static func failure(_ path: String, _ group: gid_t) -> FileError {
        FileError("set group \(group), which needs root or a member of the group, on", path)
    }

    /// Checks by a temporary file that files in a directory can have the permissions.
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
