import Block
import Glibc

/// The directory of an index: its files, its locks, and the atomic replacement of files.
struct IndexDirectory: Sendable {
    let path: String

    func path(of file: String) -> String { "\(path)/\(file)" }

    func createIfAbsent() throws {
        guard mkdir(path, 0o755) == 0 else {
            if errno == EEXIST { return }
            throw FileError("create the directory", path)
        }
        try takeOwner()
        try DurableFolder.synchronizeParent(of: path)
    }

    /// Gives a new directory to the owner of the one around it.
    private func takeOwner() throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path) }
        defer { close(descriptor) }
        try FolderOwner.take(descriptor, path)
    }

    /// Lists the names of the directory, sorted.
    func files() throws -> [String] {
        guard let stream = opendir(path) else { throw FileError("list", path) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            // The record may be shorter than the declared array, so the name is read in place.
            let offset = MemoryLayout<dirent>.offset(of: \.d_name)!
            let name = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
            names.append(String(cString: name))
        }
        return names.sorted()
    }

    /// Runs `body` under the directory's lock, which excludes all other processes and threads. Hold it only briefly.
    func withLock<Result>(_ body: () throws -> Result) throws -> Result {
        let lock = path(of: IndexFileName.lock)
        let descriptor = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError("open", lock) }
        defer { close(descriptor) }
        try FolderOwner.take(descriptor, lock)
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else { throw FileError("lock", lock) }
        }
        return try body()
    }

    /// Runs `body` under the merge lock; skips it if another process or thread is merging. A merge may take minutes.
    func withMergeLock(_ body: () throws -> Void) throws {
        let lock = path(of: IndexFileName.mergeLock)
        let descriptor = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError("open", lock) }
        defer { close(descriptor) }
        try FolderOwner.take(descriptor, lock)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            guard errno == EWOULDBLOCK else { throw FileError("lock", lock) }
            return
        }
        try body()
    }

    /// Creates a temporary file that `publish` will rename to `file`.
    func temporary(for file: String) throws -> TemporaryFile {
        try withLock {
            try deleteLeftovers()
            return try TemporaryFile(in: self, for: file)
        }
    }

    /// Publishes written files in order, then deletes others, durably. A kill leaves the state between two of these
    /// steps.
    /// - Parameter deleting: Names of files; they may be gone already.
    func publish(_ files: [TemporaryFile], deleting: [String] = []) throws {
        for file in files { file.beginWritingOut() }
        for file in files { try file.synchronize() }
        try withLock {
            for file in files { try file.publish() }
            if !files.isEmpty { try synchronize() }
            for file in deleting { _ = try delete(file) }
        }
    }

    /// Writes a file and replaces the older one of that name. A kill leaves the old or the new file.
    /// - Parameter keepExisting: Whether to keep a file of that name if there is one by then.
    func replace(_ file: String, keepExisting: Bool = false, write: (TemporaryFile) throws -> Void) throws {
        let temporary = try self.temporary(for: file)
        try write(temporary)
        try temporary.synchronize()
        try withLock {
            if keepExisting, access(path(of: file), F_OK) == 0 { return }
            try temporary.publish()
            try synchronize()
        }
    }

    /// Deletes a file durably; returns false if there is none. Call under the lock.
    func delete(_ file: String) throws -> Bool {
        guard unlink(path(of: file)) == 0 else {
            guard errno == ENOENT else { throw FileError("delete", path(of: file)) }
            return false
        }
        try synchronize()
        return true
    }

    /// Makes changes of names in the directory durable.
    private func synchronize() throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError("flush", path) }
    }

    /// Deletes temporary files of killed processes. A live writer holds a lock on its file, which it took under the
    /// directory's lock.
    private func deleteLeftovers() throws {
        for file in try files() where IndexFileName.isTemporary(file) {
            let descriptor = open(path(of: file), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { unlink(path(of: file)) }
        }
    }
}
