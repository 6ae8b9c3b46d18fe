import Glibc

/// Creates folders that survive a crash of the machine.
public enum DurableFolder {
    /// Creates a folder and its missing parents. On return they are durable.
    /// - Parameter synchronize: makes the names in a folder durable; tests replace it.
    /// - Throws: `FileError`.
    public static func make(
        _ path: String, synchronize: (String) throws -> Void = { try synchronize($0, mayBeUnreadable: true) }
    ) throws {
        var missing: [String] = []
        var folder = path
        while folder.count > 1, folder.hasSuffix("/") { folder.removeLast() }
        while !isFolder(folder) {
            missing.append(folder)
            let parent = parent(of: folder)
            guard parent != folder, !folder.isEmpty else { break }
            folder = parent
        }
        for folder in missing.reversed() {
            guard mkdir(folder, 0o777) == 0 || (errno == EEXIST && isFolder(folder)) else {
                throw FileError("create the directory", folder)
            }
            try synchronize(parent(of: folder))
        }
    }

    /// Makes the name of a folder or file durable.
    /// - Throws: `FileError`.
    public static func synchronizeParent(of path: String) throws {
        try synchronize(parent(of: path), mayBeUnreadable: true)
    }

    /// Makes the names in a folder durable, if its file system can.
    /// - Parameter mayBeUnreadable: whether a folder that this process may not read is no error.
    /// - Throws: `FileError`.
    public static func synchronize(_ path: String, mayBeUnreadable: Bool) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            // A process may be allowed to create names in a folder that it can't read.
            if mayBeUnreadable, errno == EACCES { return }
            throw FileError("open", path)
        }
        defer { close(descriptor) }
        // EINVAL: some file systems can't flush a folder.
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileError("flush", path) }
    }

    private static func isFolder(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        var parent = path[..<slash]
        while parent.hasSuffix("/") { parent.removeLast() }
        return parent.isEmpty ? "/" : String(parent)
    }
}
