import Glibc

/// A system call on a file failed: what was tried, on which file, and why.
public struct FileError: Error, CustomStringConvertible, Equatable {
    /// What was being done, as a verb phrase: "open", "read 4096 bytes at 8192 of".
    public let action: String
    /// The file's path as the user named it.
    public let path: String
    /// The `errno` of the failed call.
    public let code: CInt

    /// Records a failure; `code` defaults to the current `errno`.
    public init(_ action: String, _ path: String, code: CInt = errno) {
        self.action = action
        self.path = path
        self.code = code
    }

    /// One line for the user.
    public var description: String { "cannot \(action) \(path): \(String(cString: strerror(code)))" }
}
