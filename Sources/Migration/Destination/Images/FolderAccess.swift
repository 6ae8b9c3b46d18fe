import Glibc

/// The permission to put files into a folder.
struct FolderAccess {
    private let mode: mode_t

    /// Looks at the folder; one that can't be looked at is open to everybody.
    init(_ path: String) {
        var info = stat()
        mode = stat(path, &info) == 0 ? info.st_mode : 0o777
    }

    /// Whether users other than the owner may write to the folder.
    var isOpenToOthers: Bool { mode & 0o022 != 0 }
}
