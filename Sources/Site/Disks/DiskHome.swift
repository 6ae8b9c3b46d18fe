import Block
import Glibc

/// The number of a state directory, by which a disk's record says whose records tell more about it.
package enum DiskHome {
    private static let name = "site-home"

    /// Reads the number, or makes one that is durable on return.
    /// - Throws: `FileError`; a file that makes no sense is never replaced.
    package static func number(in directory: String) throws -> UInt64 {
        let path = "\(directory)/\(name)"
        if let number = try read(path) { return number }
        let temporary = "\(path).tmp"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw FileError("make", temporary) }
        defer { close(file) }
        let text = "\(UInt64.random(in: 1 ... .max))\n"
        guard write(file, text, text.utf8.count) == text.utf8.count, fsync(file) == 0 else {
            throw FileError("write", temporary)
        }
        guard rename(temporary, path) == 0 else { throw FileError("rename", temporary) }
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw FileError("open", directory) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw FileError("flush", directory) }
        guard let number = try read(path) else { throw FileError("read", path, code: EIO) }
        return number
    }

    private static func read(_ path: String) throws -> UInt64? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else {
            guard errno == ENOENT else { throw FileError("open", path) }
            return nil
        }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = Glibc.read(file, &bytes, bytes.count)
        guard count > 0, let number = UInt64(String(decoding: bytes[..<count].prefix { $0 != 10 }, as: UTF8.self)),
            number != 0
        else { throw FileError("understand", path, code: EINVAL) }
        return number
    }
}
