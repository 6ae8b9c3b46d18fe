import Block
import Glibc

/// The free space around a folder.
struct FolderRoom: Sendable {
    /// Tells its file system from others.
    let device: UInt64
    /// Bytes that may still be written there; `statvfs(3)`, `f_bavail`.
    let free: UInt64

    /// Looks at a folder that may have to be made first.
    /// - Throws: `FileError`.
    init(of folder: String) throws {
        var folder = folder
        var (info, room) = (stat(), statvfs())
        while stat(folder, &info) != 0 {
            guard errno == ENOENT, let slash = folder.lastIndex(of: "/"), folder != "/" else {
                throw FileError("look for room in", folder)
            }
            folder = slash == folder.startIndex ? "/" : String(folder[..<slash])
        }
        guard statvfs(folder, &room) == 0 else { throw FileError("look for room in", folder) }
        device = UInt64(info.st_dev)
        let (bytes, overflows) = UInt64(room.f_bavail).multipliedReportingOverflow(by: UInt64(room.f_frsize))
        free = overflows ? .max : bytes
    }
}
