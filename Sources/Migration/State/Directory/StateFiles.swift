import Foundation

/// The file operations of a `StateDirectory`, each of which may fail. Any thread may call them.
protocol StateFiles: Sendable {
    /// Makes a file, or empties the one that is there, and opens it for writing.
    /// - Throws: `FileError`, like all of them.
    func create(_ path: String) throws -> CInt
    /// Writes all of `data` to an open file; `path` is for the error.
    func write(_ data: Data, to descriptor: CInt, _ path: String) throws
    /// Makes the contents of an open file durable. After a failure the file is not to be used.
    func flush(_ descriptor: CInt, _ path: String) throws
    /// Closes what `create` has opened.
    func close(_ descriptor: CInt)
    /// Renames a file over the one that is called `new`, if there is one; the names are not durable yet.
    func rename(_ old: String, to new: String) throws
    /// Removes a name, which is not durable yet; `ENOENT` if there is none.
    func unlink(_ path: String) throws
    /// Makes the names in a directory durable.
    func flush(directory: String) throws
    /// Whether there is a file of that name.
    func exists(_ path: String) throws -> Bool
    /// The contents of a file; nil if there is none.
    func read(_ path: String) throws -> Data?
    /// The names in a directory, in no order.
    func names(in directory: String) throws -> [String]
}
