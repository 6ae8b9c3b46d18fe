import Block
import Foundation
import Glibc

/// Reads files of a directory that others might be allowed to write to.
enum StateFile {
    /// Bytes; no record is nearly as long.
    static let longest = 16 << 20

    /// All of a file, which must be no link.
    /// - Throws: `FileError`.
    static func contents(_ path: String) throws -> Data {
        // Without O_NONBLOCK, opening a FIFO would wait for its other end.
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("read", path) }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
        guard info.st_mode & S_IFMT == S_IFREG else { throw FileError("read", path, code: EINVAL) }
        guard info.st_size <= longest else { throw FileError("read", path, code: EFBIG) }
        var data = Data(count: Int(info.st_size))
        var done = 0
        while done < data.count {
            let count = data.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + done, $0.count - done) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw FileError("read", path, code: count == 0 ? EIO : errno) }
            done += count
        }
        return data
    }
}
