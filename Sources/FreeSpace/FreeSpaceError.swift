/// Reason why the free blocks of a file system can't be told.
enum FreeSpaceError: Error, Equatable {
    /// The bytes can't be read.
    case unreadable
    /// The bytes contradict each other.
    case malformed
    /// A library refuses it, with its number for that.
    case refused(Int)
    /// The program can't be confined, or can't write to the node.
    case system(CInt)
}
