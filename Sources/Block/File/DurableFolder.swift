import Glibc

/// Makes folders that are still there after the machine has crashed.
public enum DurableFolder {
    /// Makes a folder, and those above it, where there are none. On return they are durable.
    /// - Parameter synchronize: makes the names in a folder durable; for tests.
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

    /// Makes the name of a folder durable.
    /// - Throws: `FileError`.
    public static func synchronizeParent(of path: String) throws {
        try synchronize(parent(of: path), mayBeUnreadable: true)
    }

    /// Makes the names in a folder durable, as far as its file system knows how.
    /// - Parameter mayBeUnreadable: leave it at that where this process may not look into the folder.
    /// - Throws: `FileError`.
    public static func synchronize(_ path: String, mayBeUnreadable: Bool) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            // Who may make names there need not be allowed to look at them.
            if mayBeUnreadable, errno == EACCES { return }
            throw FileError("open", path)
        }
        defer { close(descriptor) }
        // Some file systems have no flush of a folder.
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
