import Block
import CLinux
import Glibc

/// A file that is being written beside the one it will replace; deleted unless it is published. Any thread may write.
///
/// `@unchecked Sendable`: but for `isPublished`, which only the owner touches, it never changes.
final class TemporaryFile: @unchecked Sendable {
    private let directory: IndexDirectory
    private let finalName: String
    private let temporaryName: String
    private let descriptor: CInt
    private var isPublished = false

    private var path: String { directory.path(of: temporaryName) }

    /// Call with the directory's lock, so that nobody takes the file for a leftover before it is locked.
    init(in directory: IndexDirectory, for file: String) throws {
        self.directory = directory
        finalName = file
        temporaryName = IndexFileName.temporary(for: file)
        let path = directory.path(of: temporaryName)
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError("create", path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw FileError("lock", path) }
    }

    deinit {
        if !isPublished { unlink(path) }
        close(descriptor)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try bytes.writeAll(to: descriptor, at: offset, path)
    }

    /// What is not written before the end is zero.
    func setSize(_ size: UInt64) throws {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw FileError("set the size of", path) }
    }

    /// What has been written, for reading; after `setSize`.
    func reopened() throws -> IndexFile {
        do throws(TableFault) { return try IndexFile(path: path) } catch {
            guard case .unreadable(let code) = error else { throw FileError("read", path, code: ENOENT) }
            throw FileError("read", path, code: code)
        }
    }

    /// Has the disk begin with what was written so far, so that `synchronize` has less to wait for.
    func beginWritingOut() { linux_begin_writing_out(descriptor) }

    func synchronize() throws {
        guard fsync(descriptor) == 0 else { throw FileError("flush", path) }
    }

    /// Takes the place of the older file. Call with the directory's lock.
    func publish() throws {
        guard rename(path, directory.path(of: finalName)) == 0 else { throw FileError("rename", path) }
        isPublished = true
    }
}
