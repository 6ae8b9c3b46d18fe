/// A file system whose free blocks can be told.
protocol FreeSpaceSource {
    /// Checks that the file system was unmounted cleanly, and that all of its parts are known here.
    /// - Throws: `FreeSpaceError` if it was not, or that can't be told.
    func checkIsClean() throws

    /// Calls `found` with each free extent, in bytes from the start of the file system, in any order. No byte of them is used.
    /// - Throws: `FreeSpaceError`, and what `found` throws.
    func forEach(_ found: (ByteRun) throws -> Void) throws
}
