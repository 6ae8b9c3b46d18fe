import Block
import Glibc

/// Keeps a second node off a state directory, by a lock on its file `lock` that the kernel drops when the process ends.
public final class StateLock: Sendable {
    /// Another node has the state directory.
    public struct InUse: Error, CustomStringConvertible {
        let directory: String
        /// The process that has it; nil if the file does not say.
        let holder: Int32?

        /// One line for the user.
        public var description: String {
            "the state directory \(directory) is in use by another node\(holder.map { " (pid \($0))" } ?? ""); "
                + "stop that one, or give this one another directory with --state DIR"
        }
    }

    /// The time for which to wait for the lock of a process that may have ended. Its forked child keeps the lock until
    /// it executes another program.
    private static let patience = (attempts: 20, microseconds: 10_000 as UInt32)

    private let descriptor: CInt

    /// Takes the lock of a state directory, which is held until the object is released.
    /// - Parameters:
    ///   - isNeeded: whether the node may change records, so that it can't run beside another one.
    ///   - warn: receives the reason if the node goes on without the lock.
    /// - Returns: nil if another node has it and it is not needed, or if the directory can't be written.
    /// - Throws: `InUse`, `FileError`.
    public static func acquire(in directory: String, isNeeded: Bool, warn: (String) -> Void) throws -> StateLock? {
        let path = "\(directory)/lock"
        do {
            return try StateLock(path, directory)
        } catch let error as InUse where !isNeeded {
            warn("no migrations from here: \(error)")
        } catch let error as FileError where [EROFS, EACCES, EPERM, ENOSPC, EDQUOT].contains(error.code) {
            warn("nobody notices a second node with this state directory: \(error)")
        }
        return nil
    }

    private init(_ path: String, _ directory: String) throws {
        // A lock needs no right to write, and with one the file system could not be made read-only.
        let flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        var descriptor = open(path, flags | O_RDONLY)
        if descriptor < 0, errno == ENOENT { descriptor = open(path, flags | O_RDONLY | O_CREAT, 0o600) }
        guard descriptor >= 0 else { throw FileError("open", path) }
        do {
            try FolderOwner.take(descriptor, path)
            try Self.lock(descriptor, path, directory)
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        // The file's text is for people; the lock is what counts.
        let holder = "\(getpid())\n"
        let writing = open(path, flags | O_WRONLY | O_TRUNC)
        guard writing >= 0 else { return }
        _ = write(writing, holder, holder.utf8.count)
        close(writing)
    }

    deinit { close(descriptor) }

    private static func lock(_ descriptor: CInt, _ path: String, _ directory: String) throws {
        for attempt in 1... {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return }
            guard errno == EWOULDBLOCK || errno == EINTR else {
                // A file system without locks can't tell nodes apart.
                if [ENOLCK, ENOTSUP, ENOSYS].contains(errno) { return }
                throw FileError("lock", path)
            }
            guard attempt < patience.attempts else {
                throw InUse(directory: directory, holder: holder(descriptor))
            }
            usleep(patience.microseconds)
        }
    }

    private static func holder(_ descriptor: CInt) -> Int32? {
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        guard count > 0 else { return nil }
        return Int32(String(decoding: bytes[..<count].prefix { $0 != 10 }, as: UTF8.self))
    }
}
