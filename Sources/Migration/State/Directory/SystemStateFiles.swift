import Block
import Foundation
import Glibc

/// The kernel's file operations.
struct SystemStateFiles: StateFiles {
    func create(_ path: String) throws -> CInt {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw FileError("create", path) }
        do { try FolderOwner.take(descriptor, path) } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    func write(_ data: Data, to descriptor: CInt, _ path: String) throws {
        let written = data.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written == data.count else { throw FileError("write", path, code: written >= 0 ? ENOSPC : errno) }
    }

    func flush(_ descriptor: CInt, _ path: String) throws {
        guard fsync(descriptor) == 0 else { throw FileError("flush", path) }
    }

    func close(_ descriptor: CInt) { _ = Glibc.close(descriptor) }

    func rename(_ old: String, to new: String) throws {
        guard Glibc.rename(old, new) == 0 else { throw FileError("rename to \(new)", old) }
    }

    func unlink(_ path: String) throws {
        guard Glibc.unlink(path) == 0 else { throw FileError("remove", path) }
    }

    func flush(directory: String) throws {
        // A directory that can't be opened can't be flushed, which is an error.
        try DurableFolder.synchronize(directory, mayBeUnreadable: false)
    }

    func exists(_ path: String) throws -> Bool {
        guard access(path, F_OK) != 0 else { return true }
        guard errno == ENOENT else { throw FileError("look for", path) }
        return false
    }

    func read(_ path: String) throws -> Data? {
        do {
            return try StateFile.contents(path)
        } catch let error as FileError where error.code == ENOENT {
            return nil
        }
    }

    func names(in directory: String) throws -> [String] {
        do { return try FileManager.default.contentsOfDirectory(atPath: directory) } catch {
            throw FileError("list", directory, because: error)
        }
    }
}
