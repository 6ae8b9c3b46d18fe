import Block
import Glibc

/// A change of a record has failed, and a later life may find the old state or the new one.
struct UncertainRecord: Error, CustomStringConvertible {
    /// The record's file.
    let file: String
    /// The operation that failed.
    let cause: FileError

    /// Errors of `rename` and `unlink` with which nothing has been changed.
    static let harmless: Set<CInt> = [
        EROFS, ENOSPC, EDQUOT, EACCES, EPERM, ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP, EMFILE, ENFILE, EXDEV,
        EBUSY,
    ]

    /// One line for the user.
    var description: String { "\(cause), so that \(file) may be as it was or not" }
}
