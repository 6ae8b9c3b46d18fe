import Glibc

/// A failed system call on a file: the action, the file and the reason.
public struct FileError: Error, CustomStringConvertible, Equatable {
    /// The failed action as a verb phrase: "open", "read 4096 bytes at 8192 of".
    public let action: String
    /// The file's path as the user named it.
    public let path: String
    /// The `errno` of the failed call.
    public let code: CInt

    /// Creates an error; `code` defaults to the current `errno`.
    public init(_ action: String, _ path: String, code: CInt = errno) {
        self.action = action
        self.path = path
        self.code = code
    }

    /// Runs `body` and returns its result: 0, or the `errno` of the failed call, or `EIO` if the error has none.
    public static func outcome(of body: () throws -> Void) -> CInt {
        do {
            try body()
            return 0
        } catch let error as FileError {
            return error.code == 0 ? EIO : error.code
        } catch {
            return EIO
        }
    }

    /// One line for the user.
    public var description: String { "cannot \(action) \(path): \(String(cString: strerror(code)))\(remedy)" }

    /// The words behind the reason that say what to do; empty where only the operator can know.
    private var remedy: String {
        switch code {
        case ENOENT: "; check the path"
        case EACCES, EPERM:
            "; change its mode or owner so that user \(geteuid()), who runs this, may do that, or choose another place"
        case EISDIR: "; give a file and not a directory"
        case ENOTDIR: "; a part of this path is a file, and no directory"
        case ENOTBLK: "; give a file or a block device"
        case EEXIST: "; something else is there: choose another path"
        case EROFS: "; choose a place that is not read-only"
        default: ""
        }
    }
}
