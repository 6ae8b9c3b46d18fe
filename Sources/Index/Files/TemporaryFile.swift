import Block
import CLinux
import Glibc

/// A file in writing, deleted unless it is published. Any thread may write.
///
/// `@unchecked Sendable`: only `isPublished` changes, and only the owner touches it.
final class TemporaryFile: @unchecked Sendable {
    private let directory: IndexDirectory
    private let finalName: String
    private let temporaryName: String
    private let descriptor: CInt
    private var isPublished = false

    private var path: String { directory.path(of: temporaryName) }

    /// Call under the directory's lock, so that no other process takes the file for a leftover before it is locked.
    init(in directory: IndexDirectory, for file: String) throws {
        self.directory = directory
        finalName = file
        temporaryName = IndexFileName.temporary(for: file)
        let path = directory.path(of: temporaryName)
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError("create", path) }
        try FolderOwner.take(descriptor, path)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw FileError("lock", path) }
    }

    deinit {
        if !isPublished { unlink(path) }
        close(descriptor)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try bytes.writeAll(to: descriptor, at: offset, path)
    }

    /// Sets the size in bytes; bytes that were not written are zero.
    func setSize(_ size: UInt64) throws {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw FileError("set the size of", path) }
    }

    /// Opens the written bytes for reading. Call after `setSize`.
    func reopened() throws -> IndexFile {
        do throws(TableFault) { return try IndexFile(path: path) } catch { throw error.fileError(path) }
    }

    /// Starts writing the file to the disk, so that `synchronize` has less to wait for.
    func beginWritingOut() { linux_begin_writing_out(descriptor) }

    func synchronize() throws {
        guard fsync(descriptor) == 0 else { throw FileError("flush", path) }
    }

    /// Renames the file to its final name. Call under the directory's lock.
    func publish() throws {
        guard rename(path, directory.path(of: finalName)) == 0 else { throw FileError("rename", path) }
        isPublished = true
    }
}
