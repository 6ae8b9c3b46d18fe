import Glibc

/// Facts from `stat(2)` by which a path is seen to have changed since an image there could not be opened.
struct ImageAppearance: Equatable, Sendable {
    /// 0 if the path can be examined; otherwise the error.
    private var error: CInt = 0
    private var device: UInt64 = 0
    private var inode: UInt64 = 0
    private var mode: UInt32 = 0
    private var owner: UInt32 = 0
    private var size: Int64 = 0
    private var changed: Int64 = 0
    private var changedNanoseconds: Int64 = 0

    /// Examines a path; symbolic links are followed. Blocks the thread for as long as the file system takes.
    init(at path: String) {
        var info = stat()
        guard stat(path, &info) == 0 else {
            error = errno
            return
        }
        (device, inode) = (UInt64(info.st_dev), UInt64(info.st_ino))
        (mode, owner, size) = (info.st_mode, info.st_uid, Int64(info.st_size))
        (changed, changedNanoseconds) = (Int64(info.st_ctim.tv_sec), Int64(info.st_ctim.tv_nsec))
    }
}
